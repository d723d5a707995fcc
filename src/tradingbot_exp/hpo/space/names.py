"""Names in a search space: from what a user writes to the configuration keys that it sets."""

from __future__ import annotations

from collections.abc import Iterator

from tradingbot_exp.config.finalize import LEARNING_RATES
from tradingbot_exp.config.keys import BLOCKS, KEYS, facts_of
from tradingbot_exp.errors import ConfigError, near

BARE_BLOCKS = ("model", "training")

OPTIONS = "model.options."  # of a model of the user's own: whatever its class takes


def targets_of(name: str, label: str, bare: bool = True) -> tuple[str, ...]:
    """Find the configuration keys that a name stands for.

    Parameters
    ----------
    name : str
        A dotted key, or a bare name such as ``batch_size``, which is looked up in `model` and `training`.
    label : str
        What error messages call the entry.
    bare : bool
        Whether a bare name is looked up; on the command line a key has to be written in full.

    Returns
    -------
    tuple of str
        Dotted keys of the schema. The first is the canonical name. The two learning rates, being one value,
        always come together.

    Raises
    ------
    ConfigError
        The name is unknown, is a block of keys, or is a key that no study may search.
    """
    found = tuple(f"{block}.{name}" for block in BARE_BLOCKS if bare and f"{block}.{name}" in KEYS) or (name,)
    for key in found:
        reason = facts_of(key).search
        if reason and not key.startswith(OPTIONS):
            raise ConfigError(f"{label}: {key} cannot be searched, as {reason}.")
        if key not in KEYS and not key.startswith(OPTIONS):
            raise ConfigError(f"{label} is not a key of the configuration.{_hint(name)} `--cfg job` shows all keys.")
        if key in BLOCKS:
            within = ", ".join(leaf for leaf in searchable() if leaf.startswith(f"{key}."))
            raise ConfigError(f"{label}: {key} is a block of keys, not one value. Search one of {within}.")
    return LEARNING_RATES if set(found) & set(LEARNING_RATES) else found


def searchable() -> Iterator[str]:
    """Yield every dotted key that a study may search."""
    return (key for key, facts in KEYS.items() if not facts.search and key not in BLOCKS)


def _hint(name: str) -> str:
    """Name what was probably meant: the same last part elsewhere (``training.dropout``), or a near spelling."""
    last = {key: key.rpartition(".")[2] for key in searchable()}
    same = next((key for key, end in last.items() if end == name.rpartition(".")[2]), "")
    return f" Did you mean '{same}'?" if same else near(name, [*last, *last.values()])
