"""What tests of the service and of the client share."""

pytest_plugins = ["live_server"]
