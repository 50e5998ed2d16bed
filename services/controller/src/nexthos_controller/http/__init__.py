"""HTTP: health, metrics and discovery."""
