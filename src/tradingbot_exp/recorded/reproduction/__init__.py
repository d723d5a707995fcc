"""Making a run again in a checkout of its own code, and judging what comes of it."""
