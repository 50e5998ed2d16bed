"""What many commands have in common on their command line."""
