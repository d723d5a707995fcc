"""Names in a search space: from what a user writes to the configuration keys that it sets."""

from __future__ import annotations

from collections.abc import Iterator

from tradingbot_exp.config.explain import known_keys
from tradingbot_exp.config.finalize import LEARNING_RATES
from tradingbot_exp.errors import ConfigError, near

BARE_BLOCKS = ("model", "training")

_SAME_TASK = "it changes what trials are judged on, so they could not be compared. Run one study for each value"
_NO_RESULT = "it does not decide a result. Set it outside of the search"
_DERIVED = "it is derived from the rest of the configuration. Leave it out"
OPTIONS = "model.options."  # of a model of the user's own: whatever its class takes
# A block stands for all keys in it. What is left is what may be searched.
_REFUSED = {
    "experiment": "it names and files runs, and decides no result. Set it outside of the search",
    "hpo": "it describes the search itself. Set it outside of the search",
    "tracking": "it says where records go, and decides no result. Set it outside of the search",
    "evaluation": _SAME_TASK,
    "plugins": "it names modules. Set it outside of the search",
    "seed": "the best seed is the luckiest one. To average each trial over seeds, set hpo.repeats",
    "data.name": _SAME_TASK,
    "data.source": _SAME_TASK,
    "data.path": _SAME_TASK,
    "data.symbol": _SAME_TASK,
    "data.columns": _SAME_TASK,
    "data.target": _SAME_TASK,
    "data.horizon": _SAME_TASK,
    "data.options": _SAME_TASK,
    "data.returns": _SAME_TASK,
    "data.split": _SAME_TASK,
    "data.synthetic": _SAME_TASK,
    "model.options": "it is a mapping. Search one option of your model, model.options.NAME",
    "model.version": _DERIVED,
    "model.input_dim": _DERIVED,
    "model.output_dim": "a forecast is one number. Leave it out",
    "training.device": _NO_RESULT,
    "training.progress": _NO_RESULT,
    "training.checkpoint_every": "trials keep no checkpoints. Leave it out",
    "training.resume": "a study is resumed by its own command, given again. Leave it out",
}


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
    keys = set(known_keys())
    found = tuple(f"{block}.{name}" for block in BARE_BLOCKS if bare and f"{block}.{name}" in keys) or (name,)
    for key in found:
        reason = _refusal(key)
        if reason:
            raise ConfigError(f"{label}: {key} cannot be searched, as {reason}.")
        if key not in keys and not key.startswith(OPTIONS):
            raise ConfigError(f"{label} is no key of the configuration.{_hint(name)} `--cfg job` shows all keys.")
        if is_block(key):
            within = ", ".join(leaf for leaf in searchable() if leaf.startswith(f"{key}."))
            raise ConfigError(f"{label}: {key} is a block of keys, not one value. Search one of {within}.")
    return LEARNING_RATES if set(found) & set(LEARNING_RATES) else found


def is_block(key: str) -> bool:
    """Say whether a dotted key holds further keys of the schema."""
    return any(known.startswith(f"{key}.") for known in known_keys())


def searchable() -> Iterator[str]:
    """Yield every dotted key that a study may search."""
    keys = tuple(known_keys())
    return (key for key in keys if not _refusal(key) and not is_block(key))


def _refusal(key: str) -> str:
    """Say why no study may search a key; empty if it may."""
    if key.startswith(OPTIONS):
        return ""
    parts = key.split(".")
    prefixes = (".".join(parts[: length + 1]) for length in range(len(parts)))
    return next((_REFUSED[prefix] for prefix in prefixes if prefix in _REFUSED), "")


def _hint(name: str) -> str:
    """Name what was probably meant: the same last part elsewhere (``training.dropout``), or a near spelling."""
    last = {key: key.rpartition(".")[2] for key in searchable()}
    same = next((key for key, end in last.items() if end == name.rpartition(".")[2]), "")
    return f" Did you mean '{same}'?" if same else near(name, [*last, *last.values()])
