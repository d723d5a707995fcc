"""What forecasts would have earned, and at what risk: sections that reports of runs, studies and test sets share."""
