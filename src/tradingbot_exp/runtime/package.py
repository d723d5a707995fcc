"""The package as it is installed: its folder and its version."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[1]
VERSION = version("tradingbot_exp")
