"""Jobs: what they are, the rules by which they change, and the stores that keep them."""
