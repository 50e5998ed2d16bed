"""One file per verb. Each says what it did and how to look further; none of them knows NATS."""
