"""What all parts of nexthos agree on: models, names, errors, stores, engine."""
