"""Connections to NATS, and what may be sent where."""
