"""One `apply`: what would change, and its writing."""
