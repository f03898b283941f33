"""Python client of the dropout service."""
