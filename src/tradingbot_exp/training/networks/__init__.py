"""What a stack computes: the outputs of K models of one shape, and the gradients of their parameters."""
