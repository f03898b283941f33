"""Parquet and Arrow IPC files: tables whose columns have types of their own."""
