"""What is done with runs that are there: forecast, open the test set, train again."""
