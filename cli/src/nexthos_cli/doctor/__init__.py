"""The checks of `nexthos doctor`."""
