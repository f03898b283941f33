"""Datasets: uploaded tables and arrays, content-addressed, with a schema, and made into training data."""
