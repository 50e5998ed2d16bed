"""Fixtures that every test of the workspace may use."""

pytest_plugins = ["nexthos_testing.fixtures"]
