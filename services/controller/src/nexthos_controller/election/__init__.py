"""Which controller of a namespace acts."""
