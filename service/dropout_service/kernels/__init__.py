"""Pure array functions: random streams, dropout and the fused steps of training.

NumPy, Numba and the standard library only. Everything random is addressed by ``(seed, offset)`` and holds no state.
"""
