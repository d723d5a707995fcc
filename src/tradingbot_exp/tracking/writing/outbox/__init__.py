"""Records on their way to MLflow: sent at once, or kept on this disk until it can take them."""
