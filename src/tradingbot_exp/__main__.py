"""``python -m tradingbot_exp COMMAND``."""

from tradingbot_exp.cli.main import main

if __name__ == "__main__":
    main()
