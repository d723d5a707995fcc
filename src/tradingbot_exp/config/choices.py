"""The names that a configuration may use, of metrics, models, optimizers and so on; known without a heavy library."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection
from typing import Literal

from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.runtime.package import FOLDER

DEFAULT_FEATURES = (
    "ret_1",
    "ret_5",
    "ret_20",
    "vol_20",
    "rsi_14",
    "macd_hist",
    "atr_14",
    "boll_z_20",
    "volume_z_20",
    "clv",
)
TARGETS = {
    "return": "log return over the next `horizon` bars",
    "direction": "1 up, 0 not",
    "excess_return": "of a panel, less the mean of the date's symbols",
    "rank": "of a panel, among the date's symbols, from -0.5 to 0.5",
}
"""Of bars; a table names a column."""
_ACROSS = ("excess_return", "rank")
_IN_RETURNS = ("return", "excess_return")
SCALINGS = {
    "pooled": "one scaler, fitted to all train rows",
    "symbol": "of a panel, one a symbol",
    "date": "of a panel, z-scores across the symbols of a date",
}
SCHEMES = ("chronological", "walk_forward", "purged_kfold")
WINDOWS = ("expanding", "rolling")
AGGREGATES = ("mean", "worst", "mean_less_std")
"""How `hpo.metric` is made of its values in the folds."""

OPTIMIZERS = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
WITH_MOMENTUM = ("SGD", "RMSprop")
# Where a name has to be explained, ``--help`` has the explanation behind it.
SCHEDULERS = {
    "none": "",
    "cosine": "to 0 over all epochs",
    "step": "a tenth after each third",
    "plateau": "halved after 5 flat epochs",
}
DEVICES = {"auto": "a GPU if there is one", "cpu": "", "cuda": "", "mps": ""}
PRECISIONS = ("float32", "float64", "bf16-mixed")
PROGRESS_MODES = {"auto": "a bar on a terminal, lines when piped", "bar": "", "plain": "", "off": "only the summary"}

ACTIVATION_CLASSES: dict[str, str] = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "gelu": "GELU",
    "silu": "SiLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
}
"""Name in the configuration -> class in ``torch.nn``."""
ACTIVATIONS: tuple[str, ...] = tuple(ACTIVATION_CLASSES)
_NOT_MODELS = frozenset({"registry", "summary"})
MODEL_KINDS = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules([str(FOLDER / "models")])
        if module.name not in _NOT_MODELS and not module.name.startswith("_")
    )
)
"""The models of this package: a file ``foo.py`` in the folder ``models`` is the model ``foo``."""
SEQUENCE_MODELS = ("gru", "lstm", "tcn", "transformer")
"""Those that take the bars of a window one by one, and have a layer at the least."""
HEADS = 4
"""Of the transformer: its width is a multiple of them."""
_registered: set[str] = set()  # names of users' own models, see `add_model`

BUNDLED_PANELS = {"tech": ("aapl", "fb", "goog", "ibm", "msft")}
"""The files of each."""
BUNDLED = ("ibm", "msft", *BUNDLED_PANELS)
SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsgaii", "gp", "qmc")
BLIND_SAMPLERS = ("random", "grid", "qmc")
"""Those that do not look at the values of earlier trials; of a user's own nobody knows."""
PRUNERS = ("none", "median", "hyperband", "percentile")
KEEP = ("best", "all", "none")
ON_ERROR = ("raise", "offline")
CHAMPIONS = ("real", "any")
Word = Literal["real", "not shown", "cannot be told"]
"""What a study says of its winner."""
Inputs = Literal["checked", "not checked", "leaks"]
"""What the leak gate says of a winner's inputs."""
DIRECTIONS = ("minimize", "maximize")
TRACKING_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

RANGE_KEYS = ("low", "high", "log", "step")


def check_name(key: str, given: object, known: Collection[str]) -> None:
    """Refuse a name that is not known.

    Raises
    ------
    ConfigError
        Names the key, what is known, what was given, and what was probably meant.
    """
    if given not in known:
        raise ConfigError(f"{key} must be one of {', '.join(known)}; got {given!r}.{near(str(given), known)}")


def add_model(name: str) -> None:
    """Let a configuration name a model that other code registers."""
    _registered.add(name)


def model_names() -> tuple[str, ...]:
    """Name every model that `build_model` can build.

    Returns
    -------
    tuple of str
        Sorted: those of this package, and those that other code registered.
    """
    return tuple(sorted({*MODEL_KINDS, *_registered}))


def is_across(source: str, target: str) -> bool:
    """Tell whether a target compares the symbols of a date; that of a table is a column, whatever its name."""
    return source != "table" and target in _ACROSS


def is_in_returns(source: str, target: str) -> bool:
    """Tell whether forecasts of a target can be compared with a cost."""
    return source != "table" and target in _IN_RETURNS
