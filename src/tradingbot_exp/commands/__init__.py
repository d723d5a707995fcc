"""The commands of ``python -m tradingbot_exp``: each reads its options, calls the component, and prints."""
