"""Stored pipelines: chosen, changed, and their past."""
