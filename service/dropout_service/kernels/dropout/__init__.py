"""Standard dropout, and the loops that every variant of it is made of."""
