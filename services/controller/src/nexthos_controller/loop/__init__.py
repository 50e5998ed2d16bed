"""What makes a pipeline be reconciled, when, and how that is carried out."""
