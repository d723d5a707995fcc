"""The modules of the user's own that the key `plugins` names: their import, and the hash of their source."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.errors import TRUST, ConfigError, RunError, TradingBotError, near
from tradingbot_exp.runtime.package import source_sha256


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


def load_recorded_plugins(modules: Iterable[str], whose: str, *, trust: bool = False, advice: str = TRUST) -> None:
    """Import the modules that a recorded run names, if it is trusted; else take those alone that are imported already.

    Parameters
    ----------
    modules : iterable of str
    whose : str
        The run, in words.
    trust : bool
    advice : str
        What to do if it should be.

    Raises
    ------
    ConfigError
        See `load_plugins`.
    RunError
        A module is not imported, and the run is not trusted.
    """
    names = list(modules)
    strange = [name for name in names if name not in sys.modules]
    if strange and not trust:
        raise RunError(
            f"plugins: {whose} names {', '.join(strange)}, which runs code when it is imported: nothing is imported "
            f"because a store says so. {advice}"
        )
    load_plugins(names)


def plugins_sha256(modules: Sequence[str]) -> str | None:
    """Hash the source of the user's own packages: all modules below the top-level package of each.

    Returns
    -------
    str or None
        Twelve hexadecimal digits; None without plugins.
    """
    if not modules:
        return None
    found: list[tuple[str, Path]] = []
    for package in sorted({name.partition(".")[0] for name in modules}):
        spec = importlib.util.find_spec(package)
        folders = list(spec.submodule_search_locations or []) if spec is not None else []
        single = [spec.origin] if spec is not None and not folders and spec.origin else []
        files = [(file, file.relative_to(folder)) for folder in folders for file in Path(folder).rglob("*.py")]
        files += [(Path(file), Path(Path(file).name)) for file in single]
        files.sort(key=lambda pair: pair[1].as_posix())
        found += [(f"{package}/{name.as_posix()}", file) for file, name in files if file.is_file()]
    return source_sha256(found)


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
