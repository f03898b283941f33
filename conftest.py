"""What tests of the service and of the client share."""

pytest_plugins = ["app_client", "databases", "live_server", "postgres"]
