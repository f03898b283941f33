"""Dropout over HTTP and durable training jobs."""

from importlib.metadata import version

__version__ = version("dropout-service")
