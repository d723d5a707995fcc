"""What becomes runs, and how it gets there: open runs, their records, and those that wait on this disk."""
