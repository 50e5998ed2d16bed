"""Files that people write: found, read, checked, and written back."""
