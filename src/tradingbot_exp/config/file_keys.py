"""Which keys a file of configuration may have: those of the schema, in blocks, and what else is near a wrong one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

from tradingbot_exp.config.explain import known_keys
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.schema import Config
from tradingbot_exp.config.yaml_file import YamlFile
from tradingbot_exp.errors import near


def check_keys(file: YamlFile) -> dict[str, str]:
    """Refuse keys that the schema does not have, and blocks that are none.

    Returns
    -------
    dict of str to str
        The options that the file's own list of defaults chooses, by group: ``override /hpo: guide``.

    Raises
    ------
    ConfigError
        Names file, line, key, and the key that was probably meant.
    """
    _check_block(file, {key: value for key, value in file.tree.items() if key != "defaults"}, Config, "")
    return _choices(file) if "defaults" in file.tree else {}


def _check_block(file: YamlFile, block: Mapping[str, Any], schema: type[Any], prefix: str) -> None:
    hints = get_type_hints(schema)
    names = [item.name for item in dataclasses.fields(schema)]
    for name, value in block.items():
        key = f"{prefix}{name}"
        if name not in names:
            raise file.error(f"{key} is no key of the configuration.{_hint(key, names, prefix)}", key)
        if value == "???":
            raise file.error(f"{key} is '???', which stands for no value. Give it one, or leave it out.", key)
        is_block = dataclasses.is_dataclass(hints[name])
        if (is_block or get_origin(hints[name]) is dict) and not isinstance(value, dict):
            raise file.error(_no_block(key, value), key)
        if is_block:
            _check_block(file, value, hints[name], f"{key}.")


def _no_block(key: str, value: Any) -> str:
    if value is None:
        return f"{key} has nothing below it. Indent its keys below it, or leave it out."
    if isinstance(value, str) and (conf_dir() / key / f"{value}.yaml").is_file():
        return f"{key} is '{value}', and takes a block of keys. The override '{key}={value}' chooses that option."
    kind = {"list": "a list", "str": "a text"}.get(type(value).__name__, "a single value")
    return f"{key} is {kind} ({value}), and takes a block of keys."


def _hint(key: str, names: list[str], prefix: str) -> str:
    """Say where a key belongs, or which one is near."""
    known = list(known_keys())
    if not prefix and key in known:
        block, _, name = key.partition(".")
        return f" Write it in its block: '{block}:' and below it '  {name}: ...'."
    last = key.rpartition(".")[2]
    elsewhere = [other for other in known if other.rpartition(".")[2] == last and "." in other]
    if elsewhere:
        return f" There is {' and '.join(elsewhere)}."
    found = near(last, names)
    if found:
        return found.replace("'", f"'{prefix}", 1)
    where = f"{prefix.rstrip('.')} has the keys" if prefix else "The blocks are"
    return near(key, known) or f" {where}: {', '.join(names)}."


def _choices(file: YamlFile) -> dict[str, str]:
    """Read a template's list of defaults, as far as it says something about our own groups."""
    entries = file.tree["defaults"]
    chosen: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if entry == "_self_":
            continue
        word, option = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (str(entry), None)
        group = str(word).removeprefix("override ").strip().removeprefix("/")
        if not isinstance(option, str) or not (conf_dir() / group / f"{option}.yaml").is_file():
            raise file.error(
                f"defaults has the entry {entry}. In a file of your own, it can choose options of our groups, such "
                "as 'override /hpo: random'; everything else is written as keys.",
                "defaults",
            )
        chosen[group] = option
    return chosen
