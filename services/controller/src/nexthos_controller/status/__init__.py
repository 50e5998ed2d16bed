"""What is written about pipelines: their status and their events."""
