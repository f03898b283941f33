"""Training of networks with dropout: the specification, the trainer, checkpoints."""
