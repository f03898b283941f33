"""The resource `/models`: read, download, predict."""
