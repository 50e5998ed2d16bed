"""What all executors share."""
