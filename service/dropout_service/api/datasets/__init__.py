"""The resource `/datasets`."""
