"""What a person types: the `nexthos` command."""
