"""Hyperparameter studies: what is searched, and how."""
