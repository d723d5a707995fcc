"""Does a feature know its future? Checks by recomputation, and columns too good to be true."""
