"""CSV files: found out how they are written, brought to UTF-8, and parsed by PyArrow."""
