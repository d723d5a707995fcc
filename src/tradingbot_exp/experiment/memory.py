"""Whether a job fits in memory: what its network takes, against what is free, before anything is recorded."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.choices import HEADS, MODEL_KINDS, SEQUENCE_MODELS
from tradingbot_exp.errors import ConfigError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData

# Rows of one pass of `training.predict`.
_PASS = 4096
# Of each weight there are itself, its gradient, two moments of an optimizer, and the best epoch's.
_COPIES = 5
# Of a recurrent layer.
_GATES = {"lstm": 4, "gru": 3}
# Values that a layer keeps of a bar, in widths, as measured.
_KEPT = {"lstm": 6, "gru": 10, "tcn": 7, "transformer": 14}
# What a small job takes is not worth a look at the machine.
_SMALL = 256 * 1024**2
# Of both kinds of control groups: the files of a limit and of what is used, and what begins the names of statistics.
_GROUPS = {
    "/sys/fs/cgroup": ("memory.max", "memory.current", ""),
    "/sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


def check_memory(config: Config, data: PreparedData) -> None:
    """Refuse a network that cannot be held in the memory that is free.

    Nothing is known of a model of the user's own, and a device that is named, and has memory of its own, is not asked.

    Raises
    ------
    ConfigError
        Names the sizes.
    """
    copied = 0 if data.layout.is_alone else len(data.val)
    needed = bytes_needed(config, len(data.feature_names), len(data.train), copied)
    if needed <= _SMALL or config.training.device in ("cuda", "mps"):
        return
    free = free_memory()
    if needed > free:
        windows = f", data.sequence_length={data.sequence_length}" if data.sequence_length > 1 else ""
        networks = f", training.ensemble={config.training.ensemble}" if config.training.ensemble > 1 else ""
        raise ConfigError(
            f"model.hidden_layers={config.model.hidden_layers}{windows}{networks} and training.batch_size="
            f"{config.training.batch_size} take {_gb(needed)} of memory, and {_gb(free)} are free. Choose smaller ones."
        )


def bytes_needed(config: Config, features: int, rows: int, copied: int = 0) -> int:
    """Estimate what training takes, the data aside, in bytes; of a model of the user's own, windows alone.

    Parameters
    ----------
    config : Config
    features : int
        Of one bar.
    rows : int
        Of the train part.
    copied : int
        Rows of the validation part, where windows are copied, as those of several symbols are; else they share what is
        under them, and there is nothing to count.
    """
    model, length = config.model, config.data.sequence_length
    size = 8 if config.training.precision == "float64" else 4
    folds = 1 if config.evaluation.scheme == "chronological" else config.evaluation.folds
    windows = 0
    if copied and length > 1:  # those that training holds, or later those that the linear model learns from, in float64
        windows = max(size * (rows + copied) * folds, 8 * rows) * length * features
    if model.name not in MODEL_KINDS:
        return windows
    steps = length if model.name in SEQUENCE_MODELS else 1
    widths = [features * length // steps, *model.hidden_layers, model.output_dim]
    weights = _weights(model.name, widths)
    at_once = max(2 * min(config.training.batch_size, rows), min(_PASS, rows))
    wide = _KEPT.get(model.name, 1) * max(widths)
    if model.name == "transformer":  # each bar's look at each, before and after it is normalised
        wide += 2 * HEADS * length
    passed = at_once * steps * (widths[0] + wide)
    return size * (weights * _COPIES * folds * config.training.ensemble + passed) + windows


def _weights(name: str, widths: list[int]) -> int:
    """Count the parameters of a model, given the values of a bar, of each layer and of an output."""
    layers, head = list(pairwise(widths[:-1])), (widths[-2] + 1) * widths[-1]
    if name in _GATES:  # of what comes in and of what was before, with two biases each
        return head + sum(_GATES[name] * after * (before + after + 2) for before, after in layers)
    if name == "tcn":  # two convolutions of three bars, and where the width changes one of a bar
        both = sum((3 * before + 1 + 3 * after + 1) * after for before, after in layers)
        return head + both + sum((before + 1) * after for before, after in layers if before != after)
    if name == "transformer":  # twelve matrices a layer, and the inputs'
        width = widths[1]
        return head + (widths[0] + 3) * width + (12 * width + 13) * width * len(layers)
    return head + sum((before + 1) * after for before, after in layers)


def free_memory() -> int:
    """Return how many bytes this process may still take: of the machine's, and of its control group's."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min([free, *filter(None, (_free_of_group(Path(place), *names) for place, names in _GROUPS.items()))])


def _free_of_group(place: Path, limit: str, used: str, cached: str) -> int | None:
    """Return what is left of a control group's memory, with the files that it holds in memory; None without a limit."""
    try:
        lines = (line.partition(" ") for line in (place / "memory.stat").read_text().splitlines())
        back = sum(int(size) for name, _, size in lines if name in (f"{cached}inactive_file", f"{cached}active_file"))
        return max(1, int((place / limit).read_text()) - int((place / used).read_text()) + back)
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _gb(size: int) -> str:
    return f"{math.ceil(size / 1e8) / 10:,.1f} GB"
