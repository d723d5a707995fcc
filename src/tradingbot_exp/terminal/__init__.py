"""What a terminal shows: log lines beside progress bars, numbers of a run, wrapped text."""
