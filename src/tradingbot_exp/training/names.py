"""The names that a configuration may use under ``training``, known without loading torch."""

from __future__ import annotations

from tradingbot_exp.errors import ConfigError, near

OPTIMIZERS = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
WITH_MOMENTUM = ("SGD", "RMSprop")
LOSSES = ("mse", "mae", "huber", "bce")
SCHEDULERS = ("none", "cosine", "step", "plateau")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "float64", "bf16-mixed")
PROGRESS_MODES = ("auto", "bar", "plain", "off")


def check_name(key: str, given: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is not known.

    Raises
    ------
    ConfigError
        Names the key, what was given, what is known, and what was probably meant.
    """
    if given not in known:
        raise ConfigError(f"{key}: {given!r} is unknown. Known: {', '.join(known)}.{near(str(given), known)}")
