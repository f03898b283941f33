"""The resource `/jobs`: submit, read, watch, control."""
