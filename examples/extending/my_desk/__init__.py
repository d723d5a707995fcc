"""What one desk adds to tradingbot_exp: a model, features, a data source, a metric, and callbacks."""
