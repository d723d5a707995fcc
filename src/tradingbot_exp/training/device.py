"""From the words ``training.device`` and ``training.precision`` to what torch calls them."""

from __future__ import annotations

import torch

from tradingbot_exp.config.choices import DEVICES, PRECISIONS, check_name
from tradingbot_exp.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Find the device of a name; ``auto`` is the GPU if there is one.

    Raises
    ------
    ConfigError
        If the name is unknown, or the device is not there.
    """
    check_name("training.device", name, DEVICES)
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        name = available[0]
    if name not in available:
        raise ConfigError(f"training.device: '{name}' is not there. Available: {', '.join(available)}; or use auto.")
    # With its number, as tensors name it; there is one such device at a time.
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Find the type that weights and data have.

    Raises
    ------
    ConfigError
        If the name is unknown, or the device does not have it.
    """
    check_name("training.precision", name, PRECISIONS)
    if device.type == "mps" and name != "float32":
        raise ConfigError(f"training.precision: '{name}' is not there on mps. Use float32, or training.device=cpu.")
    return torch.float64 if name == "float64" else torch.float32
