"""The package in Python: what notebooks and programs call."""
