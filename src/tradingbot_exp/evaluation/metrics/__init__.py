"""What forecasts and the returns of their positions are worth, beside baselines."""
