"""What is known of definitions, configurations and executions."""
