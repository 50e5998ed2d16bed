"""Keeps what runs equal to what is stored: it decides and does."""
