"""A backtest of recorded bars: numbers first, then figures."""
