"""Tracking: what a run did, written to MLflow and lost in no case."""
