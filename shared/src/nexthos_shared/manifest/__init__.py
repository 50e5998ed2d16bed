"""Manifests, pure: documents with the places of their parts, their fields, and what one pipeline says."""
