"""Neural network vocabulary in NumPy: layers, activations, initializers, losses, optimizers, schedules."""
