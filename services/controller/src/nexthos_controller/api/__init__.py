"""Requests over NATS and their replies."""
