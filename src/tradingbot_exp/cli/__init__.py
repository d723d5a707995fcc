"""The command line, ``python -m tradingbot_exp COMMAND``: a thin file a command."""
