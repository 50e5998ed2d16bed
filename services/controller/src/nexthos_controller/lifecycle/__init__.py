"""From the start of the process to its end, and what acts while it has the lease."""
