"""Asking the controller."""
