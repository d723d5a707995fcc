"""Where things are: the configuration files, the directory that a command was started from, and its store."""

from __future__ import annotations

import re
from pathlib import Path

from tradingbot_exp.runtime.package import FOLDER

TRACKING_DATABASE = "mlflow.db"


def conf_dir() -> Path:
    """Return the absolute path of the directory that holds ``config.yaml``."""
    package = FOLDER.resolve()
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def is_address(path: str) -> bool:
    """Tell whether a path is none, but an address such as ``postgresql://host/database``."""
    return re.match(r"\w[\w+.-]+://", path) is not None


def place_of(path: str) -> str:
    """Return where a path is that starts from the launch directory; an address as it is."""
    return path if is_address(path) else str(launch_dir() / path)


def launch_dir() -> Path:
    """Return the directory that the user started from, also in a job that changed directory or host."""
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized():
        return Path(HydraConfig.get().runtime.cwd)
    return Path.cwd()
