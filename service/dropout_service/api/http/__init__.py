"""What every resource shares of HTTP: bodies, media types, conditional requests, pages, problems, the document."""
