"""What users add in modules of their own: data sources, losses, metrics, hooks, and the import of the modules.

The key `plugins` names the modules. They are imported before a configuration is checked, in every process that runs
a job. Models are registered by `tradingbot_exp.models.register`, features by `tradingbot_exp.data.features.feature`;
the rest is here, and nothing of it loads a heavy library.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tradingbot_exp.config.losses import BUILT_IN as BUILT_IN_LOSSES
from tradingbot_exp.config.losses import LOSSES, Loss
from tradingbot_exp.config.metrics import TABLE
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.registries import BUILT_IN_SOURCES, EPOCH_HOOKS, OWN_METRICS, SOURCES
from tradingbot_exp.errors import ConfigError, TradingBotError, TrainingError, near

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tradingbot_exp.config.schema import Config

_F = TypeVar("_F", bound=Callable[..., Any])

_TAKEN_METRICS = (*TABLE, "loss")


def source(name: str) -> Callable[[_F], _F]:
    """Register a source of bars, ``data.source=<name>``.

    The function takes the block `data` of the configuration, of which `path` (absolute), `symbol` and `options` are
    meant for it, and gives a data frame of bars: columns date (or a DatetimeIndex), open, high, low, close, volume
    and, if there, adj_close and others. It is checked as a file of bars would be.

    Raises
    ------
    ConfigError
        The name is taken.
    """
    if name in BUILT_IN_SOURCES:
        raise ConfigError(f"data.source: '{name}' is a source of this package. Give yours another name.")
    return _into(SOURCES, name, "data.source")


def metric(name: str) -> Callable[[_F], _F]:
    """Register a metric, logged as ``val_<name>`` and ready for `hpo.metric`.

    The function takes three float64 arrays of shape (n,), a value a bar in time order, and gives a number: the
    target, the forecast in its unit, and the net simple return of the strategy over the next bar (None where the
    data have no returns). NaN stands for a metric that is not defined there.

    Raises
    ------
    ConfigError
        The name is taken, or none for a metric.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or "_lag" in name:
        raise ConfigError(
            f"metric: '{name}' is not a name for a metric. It takes small letters, digits and _, and no '_lag'."
        )
    if name in _TAKEN_METRICS:
        raise ConfigError(f"metric: val_{name} is a metric of this package. Give yours another name.")
    return _into(OWN_METRICS, name, "metric")


def loss(name: str, *, target: Literal["any", "probability"] = "any") -> Callable[[_F], _F]:
    """Register a loss, ``training.loss=<name>``.

    The function takes two tensors of shape (n, 1), the forecast and the target of a batch's rows, and gives a tensor
    of shape () that can be differentiated. An epoch's loss is the mean over its rows of what their batches gave, and
    ``val_loss`` that over the validation rows, of which a million values or so are one batch.

    Parameters
    ----------
    name : str
    target : str
        ``any``; or ``probability``, for 0/1 targets: then the forecast that the function is given is a logit.

    Raises
    ------
    ConfigError
        The name is taken, or not one for a loss.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"loss: '{name}' is not a name for a loss. It takes small letters, digits and _.")
    if name in BUILT_IN_LOSSES:
        raise ConfigError(f"training.loss: '{name}' is a loss of this package. Give yours another name.")
    return _into(LOSSES, name, "training.loss", lambda function: Loss(name, "", function, target=target))


def on_epoch(function: _F) -> _F:
    """Have a function called after each epoch, with the epoch (from 1), its losses, and the configuration.

    It is called in the process that trains, for each run and each trial. What it returns is True to stop training
    after this epoch; an exception ends the run as FAILED.
    """
    EPOCH_HOOKS[f"{function.__module__}.{function.__qualname__}"] = function
    return function


def ask_hooks(epoch: int, losses: dict[str, float], config: Config) -> bool:
    """Call each hook; tell whether one of them wants training to stop."""
    import numpy as np

    answers: list[Any] = [hook(epoch, losses, config) for hook in EPOCH_HOOKS.values()]
    return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)


def own_metrics(
    actual: NDArray[np.float64], forecast: NDArray[np.float64], returns: NDArray[np.float64] | None
) -> dict[str, float]:
    """Compute the user's own metrics; see `metric`.

    Raises
    ------
    TrainingError
        One raises, or gives no number; the message names it.
    """
    found: dict[str, float] = {}
    for name, function in OWN_METRICS.items():
        place = f"The metric val_{name} ({function.__module__}.{function.__qualname__})"
        try:
            given = function(actual.copy(), forecast.copy(), None if returns is None else returns.copy())
        except Exception as error:
            raise TrainingError(f"{place} raised {type(error).__name__}: {error}") from error
        try:
            found[name] = float(given)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{place} gave {given!r}; expected a number, NaN where it is not defined.") from error
    return found


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules of the user's own, which register what they add; each once a process.

    They are looked for among what is installed, then in the directory that the command was started from.

    Raises
    ------
    ConfigError
        One is missing, or raises; the message names `plugins` and the module.
    """
    for name in modules:
        if name in sys.modules:
            continue
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", str(name)):
            raise ConfigError(f"plugins: '{name}' is not a module; expected a dotted name, such as my_desk.models.")
        here = str(launch_dir())
        if here not in sys.path:
            sys.path.append(here)
        importlib.invalidate_caches()
        try:
            importlib.import_module(name)
        except TradingBotError as error:
            raise ConfigError(f"plugins: {name}: {error}") from error
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise ConfigError(f"plugins: {name} cannot be imported: {_said(error)}") from error
            raise ConfigError(
                f"plugins: there is no module '{error.name}': neither in {here} nor among what is installed."
                f"{near(error.name, _neighbours(error.name))}"
            ) from error
        except Exception as error:
            raise ConfigError(f"plugins: {name} cannot be imported: {_said(error)}") from error


def plugins_sha256(modules: Sequence[str]) -> str | None:
    """Hash the source of the user's own packages: all modules below the top-level package of each.

    Returns
    -------
    str or None
        Twelve hexadecimal digits; None without plugins.
    """
    if not modules:
        return None
    digest = hashlib.sha256()
    for package in sorted({name.partition(".")[0] for name in modules}):
        spec = importlib.util.find_spec(package)
        folders = list(spec.submodule_search_locations or []) if spec is not None else []
        single = [spec.origin] if spec is not None and not folders and spec.origin else []
        files = [(file, file.relative_to(folder)) for folder in folders for file in Path(folder).rglob("*.py")]
        files += [(Path(file), Path(Path(file).name)) for file in single]
        for file, name in sorted(files, key=lambda pair: pair[1].as_posix()):
            if file.is_file():
                digest.update(f"{package}/{name.as_posix()}".encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _into(
    registry: dict[str, Any], name: str, what: str, entry: Callable[[Any], Any] = lambda function: function
) -> Callable[[_F], _F]:
    """Make a decorator that registers a function; the same one may come again, as when its module is reloaded."""

    def register(function: _F) -> _F:
        known = getattr(registry.get(name), "function", registry.get(name))
        if known is not None and (known.__module__, known.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ConfigError(f"{what}: '{name}' is {known.__module__}.{known.__qualname__} already.")
        registry[name] = entry(function)
        return function

    return register


def _neighbours(missing: str) -> list[str]:
    """Name the modules that are where `missing` was looked for."""
    parent, _, _ = missing.rpartition(".")
    if not parent:
        return [module.name for module in pkgutil.iter_modules([str(launch_dir())])]
    places = getattr(sys.modules.get(parent), "__path__", [])
    return [f"{parent}.{module.name}" for module in pkgutil.iter_modules(places)]


def _said(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (frame.filename, frame.lineno)
    return f"{type(error).__name__}: {error} ({Path(place[0] or '').name}, line {place[1]})"
