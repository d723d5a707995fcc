"""Folders and patterns of files that are named after their symbols."""

from __future__ import annotations

import filecmp
import glob
import logging
from collections.abc import Iterator
from pathlib import Path

from tradingbot_exp.config.paths import is_address
from tradingbot_exp.data.reading import is_readable
from tradingbot_exp.errors import ConfigError, DataError, near
from tradingbot_exp.runtime.text import at_most

log = logging.getLogger(__name__)

_LISTED = 20


def is_several(path: str) -> bool:
    """Tell whether a path is that of many files: a folder, or a pattern."""
    return Path(path).is_dir() or (glob.has_magic(path) and not Path(path).exists())


def is_there(path: str | Path) -> bool:
    """Tell whether there is what a path names: a file, a folder, files that a pattern matches, or any address."""
    if is_address(str(path)):
        return True
    return Path(path).is_file() or Path(path).is_dir() or (is_several(str(path)) and any(_matching(Path(path))))


def is_same_content(path: str | Path, other: str | Path) -> bool:
    """Tell whether two files are alike, or two folders or patterns by each of their symbols."""
    parts = [files_by_symbol(str(each)) if is_several(str(each)) else {"": Path(each)} for each in (path, other)]
    return parts[0].keys() == parts[1].keys() and all(
        filecmp.cmp(file, parts[1][symbol], shallow=False) for symbol, file in parts[0].items()
    )


def files_by_symbol(path: str, key: str = "data.path") -> dict[str, Path]:
    """Return the files of a folder, or those that a glob matches, by the symbols that they are named after.

    Hidden files, and those that are of no kind that can be read, are left out: see `tell_of_others`.

    Raises
    ------
    DataError
        There is none, or two are of one symbol.
    """
    folder = Path(path)
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir() if folder.is_dir() else _matching(folder)):
        if file.name.startswith(".") or file.is_dir() or not is_readable(file.name):
            continue
        symbol = symbol_of(file)
        if symbol in files:
            raise DataError(f"{key}={path}: {files[symbol].name} and {file.name} are both of {symbol}; keep one.")
        files[symbol] = file
    if not files:
        raise DataError(f"{key}={path}: there is no file of bars; expected one for each symbol, such as MSFT.csv.")
    return files


def _matching(pattern: Path) -> Iterator[Path]:
    top = Path(pattern.anchor)
    return top.glob(str(pattern.relative_to(top)))


def tell_of_others(path: str) -> None:
    """Name the files of a folder that are of no kind that can be read."""
    others = [] if not Path(path).is_dir() else sorted(file.name for file in Path(path).iterdir() if file.is_file())
    others = [name for name in others if not name.startswith(".") and not is_readable(name)]
    if others:
        log.warning("%s: not read, as their names are not those of files of bars: %s.", path, at_most(others, _LISTED))


def symbol_of(file: Path) -> str:
    """Return the symbol that a file is named after, its name without what says its kind: BRK.B.csv.gz is BRK.B."""
    name = file.name
    if name.count(".") < 2:
        return name.partition(".")[0]
    while is_readable(name) or name.lower().endswith((".gz", ".zip")):
        name = Path(name).stem
    return name


def file_of(path: str, symbol: str | None, keys: tuple[str, str] = ("data.path", "data.symbol")) -> str:
    """Return the file of one symbol, of a folder or a pattern; any other path as it is.

    Raises
    ------
    ConfigError, DataError
        There is none.
    """
    if symbol is None or not is_several(path):
        return path
    files = files_by_symbol(path, keys[0])
    if symbol not in files:
        listed = at_most(sorted(files), _LISTED)
        raise ConfigError(
            f"{keys[1]}={symbol}: no file of {path} is named after it; there are {listed}.{near(symbol, files)}"
        )
    return str(files[symbol])


def stamp_of(path: str, *, several: bool) -> tuple[tuple[str, int, int], ...]:
    """Return what tells whether a file, or one of `several`, has changed: of each its name, time and size."""
    files = list(files_by_symbol(path).values()) if several else [Path(path)]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((file.name, stat.st_mtime_ns, stat.st_size) for file, stat in found)
