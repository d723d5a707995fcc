"""Write docs/configuration.md: every key with its type, default and comment, from the schemas and the files in conf/.

Run it after a change of either: python scripts/make_reference.py. A test compares.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tradingbot_exp.config.help import key_comments
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.schema import Config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
GROUPS = ("data", "model", "training", "hpo", "tracking", "experiment")
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "see the comment"}
HEAD = """# Configuration reference

<!-- Written by scripts/make_reference.py from the schemas and the comments in conf/: change those, and run it. -->

Every key can be set on the command line, `python -m tradingbot_exp.train KEY=VALUE`, in a file for
`ConfigurationManager`, and in a configuration directory of your own (`--config-dir`). A key that is not below, a wrong
type and an impossible value are refused before anything is written.
"""


def reference() -> str:
    """Give the page's text."""
    with initialize_config_dir(str(conf_dir())):
        defaults = compose("config")
    comments = key_comments(conf_dir())
    parts = [HEAD, *_groups()]
    for title, keys in _blocks():
        parts += [f"## {title}\n", "| key | type | default | |\n|---|---|---|---|"]
        for key, kind in keys:
            parts.append(f"| `{key}` | {kind} | {_default(defaults, key)} | {_cell(_comment(comments, key))} |")
        parts.append("")
    return "\n".join(parts)


def _groups() -> Iterator[str]:
    yield "## Groups\n\nAn option of a group sets several keys at once: `model=lstm`, `training=smoke`.\n"
    yield "| option | |\n|---|---|"
    for group in GROUPS:
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            if file.stem != "base":
                yield f"| `{group}={file.stem}` | {_cell(_heading(file))} |"
    yield ""


def _heading(file: Path) -> str:
    """Give the comment at the top of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    above = [line for line in lines if not line.startswith("# @package")]
    length = next((position for position, line in enumerate(above) if not line.startswith("#")), len(above))
    return " ".join(line.strip("# ") for line in above[:length])


def _blocks() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    hints = get_type_hints(Config)
    single = [(name, _kind(hint)) for name, hint in hints.items() if not dataclasses.is_dataclass(hint)]
    yield "Top level", single
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            yield name, list(_keys(hint, f"{name}."))


def _keys(schema: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for name, hint in get_type_hints(schema).items():
        if dataclasses.is_dataclass(hint):
            yield from _keys(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _kind(hint)


def _kind(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        inner = [each for each in get_args(hint) if each is not type(None)]
        return f"{_kind(inner[0])} or null"
    if get_origin(hint) is list:
        (kind,) = get_args(hint)
        return "list of mappings" if kind is Any else f"list of {_kind(kind)}s"
    return "mapping" if get_origin(hint) is dict else WORDS[hint]


def _comment(comments: dict[str, str], key: str) -> str:
    """Give a key's comment, or that of the keys that it stands among."""
    return comments.get(key) or comments.get(key.rpartition(".")[0], "")


def _default(defaults: DictConfig, key: str) -> str:
    block, _, name = key.rpartition(".")
    node = OmegaConf.select(defaults, block) if block else defaults
    value = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index, call-overload]
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"\$\{tradingbot\.\w+:([^}]+)\}", r"\1", text)
    return "" if not text or "${tradingbot" in text else f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
    print(PAGE)
