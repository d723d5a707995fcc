"""Where the configuration files are: beside the source in a checkout, inside the package when installed."""

from __future__ import annotations

from pathlib import Path

import tradingbot_exp


def conf_dir() -> Path:
    """Give the absolute path of the directory that holds ``config.yaml``."""
    package = Path(tradingbot_exp.__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"
