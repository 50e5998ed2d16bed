"""Waiting for a state, and showing that it is waited for."""
