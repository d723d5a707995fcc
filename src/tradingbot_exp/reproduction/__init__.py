"""Making a recorded run again, and comparing what comes of it."""
