"""What tests of the service and of the client share."""

pytest_plugins = ["app_client", "live_server"]
