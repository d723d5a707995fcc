"""Reads the artifacts of a run: each by a parser that refuses what a file should not hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.reading.run_record import Artifacts
from tradingbot_exp.tracking.store.errors import DamagedError
from tradingbot_exp.tracking.writing.environment import parse_requirements

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

CARD = "data/data_card.json"
ENVIRONMENT = "environment/environment.json"
OVERRIDES = "config/overrides.yaml"
PATCH = "code/uncommitted.patch"
PREDICTIONS = "evaluation/validation_returns.csv"
TEST_RETURNS = "evaluation/test_returns.csv"
REQUIREMENTS = "environment/requirements.txt"
# What studies and runs always have, once they have results; the trials of a study share what it has.
OF_STUDIES = ("card", "environment", "overrides", "histograms")
OF_RUNS = (*OF_STUDIES, "predictions", "importance")

# A reference to another key, as OmegaConf has it, and none with a resolver.
_REFERENCE = re.compile(r"(?<!\\)\$\{[\w.\[\]-]*\}")


def read_artifacts(
    store: Store, run: Run, parent: Run | None = None, names: Collection[str] | None = None
) -> Artifacts:
    """Read what the artifacts of a run say, and of a trial what its study keeps for all.

    What is not there is None, what cannot be read is named in `problems`.

    Parameters
    ----------
    store : Store
    run : Run
    parent : Run, optional
        Of a trial, its study.
    names : collection of str, optional
        Attributes of `Artifacts`; if not given, all.
    """
    problems: list[str] = []
    found = {
        name: read_or_note(store, path, parse, problems, run, parent if is_shared else None)
        for name, (path, parse, is_shared) in _FILES.items()
        if names is None or name in names
    }
    return Artifacts(**found, problems=tuple(problems))


def not_found(artifacts: Artifacts, names: Collection[str]) -> list[str]:
    """Return the paths of those artifacts that were not read, of the attributes `names` of `Artifacts`."""
    return [_FILES[name][0] for name in names if getattr(artifacts, name) is None]


def read_or_note(store: Store, path: str, parse: Callable[[Path], Any], problems: list[str], *runs: Run | None) -> Any:
    """Read an artifact of the first run that has it; None if none has.

    Where it cannot be read the reason is added to `problems`.
    """
    try:
        found = (store.artifact(run, path, parse) for run in runs if run is not None)
        return next((each for each in found if each is not None), None)
    except TrackingError as error:
        problems.append(f"{path}: {error.why if isinstance(error, DamagedError) else error}")
        return None


def json_file(file: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def mapping_file(file: Path) -> Mapping[str, Any]:
    """Parse a JSON file that holds an object.

    Raises
    ------
    ValueError
        It holds something else, or is no JSON.
    """
    found: Mapping[str, Any] = _checked(json_file(file), dict)
    return found


def words_file(file: Path) -> tuple[str, ...]:
    """Parse a YAML file that holds a list, as words; see `mapping_file`."""
    return tuple(map(str, _checked(yaml_file(file), list)))


def yaml_file(file: Path) -> Any:
    """Parse a YAML file of plain values."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(file))


def unresolved(file: Path) -> Any:
    """Parse a YAML file as a configuration in which every resolver, such as ``${oc.env:NAME}``, is text.

    What refers to another key, ``${model.dropout}``, does so: nothing but the file is read for it.
    """
    from omegaconf import OmegaConf

    return OmegaConf.create(literal(yaml_file(file)))


def literal(tree: Any) -> Any:
    """Return plain values in which OmegaConf resolves nothing but references to other keys."""
    if isinstance(tree, dict):
        return {key: literal(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [literal(value) for value in tree]
    if not isinstance(tree, str) or "${" not in _REFERENCE.sub("", tree):
        return tree
    # A backslash takes the meaning from what is after it, so those that are there are doubled.
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", tree)


def _checked(found: Any, kind: type[dict[Any, Any]] | type[list[Any]], what: str = "it") -> Any:
    """Refuse what a file holds in place of a mapping or a list."""
    if not isinstance(found, kind):
        wanted = "a list" if kind is list else "a mapping"
        raise ValueError(f"{what} should be {wanted}, and is {json.dumps(found, default=str)[:40]}")
    return found


def _card(file: Path) -> Any:
    """Parse a data card, whose parts are mappings."""
    card = _checked(json_file(file), dict)
    for name, part in _checked(card.get("split") or {}, dict, "split").items():
        _checked(part or {}, dict, f"split.{name}")
    for fold in _checked(card.get("folds") or [], list, "folds"):
        for name in ("train", "val"):
            _checked(_checked(fold, dict, "a fold").get(name) or {}, dict, f"{name} of a fold")
    return card


def _environment(file: Path) -> Any:
    """Parse ``environment.json``, whose known blocks are mappings."""
    found = _checked(json_file(file), dict)
    for name in ("python", "torch", "platform", "hardware", "git"):
        _checked(found.get(name) or {}, dict, name)
    _checked((found.get("hardware") or {}).get("gpus") or [], list, "hardware.gpus")
    return found


def space_file(file: Path) -> Any:
    """Parse a search space: by key, choices or the ends of a range."""
    space = _checked(json_file(file), dict)
    for key, entry in space.items():
        if "choices" in _checked(entry, dict, key):
            _checked(entry["choices"], list, f"{key}.choices")
            continue
        for end in ("low", "high"):
            value = entry.get(end)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{key}.{end} should be a number, and is {json.dumps(value)[:40]}")
    return space


def _csv(file: Path) -> Any:
    import pandas as pd

    return pd.read_csv(file)


def predictions_file(file: Path) -> Any:
    """Parse ``evaluation/validation_returns.csv``; times with a zone become UTC, and symbols stay text, such as NA."""
    import pandas as pd

    table = pd.read_csv(file)
    if "symbol" in table:
        table["symbol"] = pd.read_csv(file, usecols=["symbol"], dtype=str, keep_default_na=False)["symbol"]
    if "date" in table and not pd.api.types.is_numeric_dtype(table["date"]):
        table["date"] = pd.to_datetime(
            table["date"], utc=bool(table["date"].astype(str).str.contains(r"[+-]\d\d:\d\d$").any())
        )
    return table


# Of each attribute of `Artifacts`: path, parser, and whether the trials of a study share it, which then keeps it.
_FILES: dict[str, tuple[str, Callable[[Path], Any], bool]] = {
    "predictions": (PREDICTIONS, predictions_file, False),
    "card": (CARD, _card, True),
    "environment": (ENVIRONMENT, _environment, True),
    "overrides": (OVERRIDES, words_file, True),
    "importance": ("evaluation/feature_importance.csv", _csv, False),
    "histograms": ("data/feature_histograms.json", lambda file: _checked(json_file(file), list), True),
    "traceback": ("error/traceback.txt", lambda file: file.read_text(encoding="utf-8"), False),
    "patch": (PATCH, Path.read_bytes, True),
    "requirements": (REQUIREMENTS, lambda file: parse_requirements(file.read_text(encoding="utf-8")), True),
}
