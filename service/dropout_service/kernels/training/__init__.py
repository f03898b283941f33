"""Fused steps of training: dense layers, losses, optimizers."""
