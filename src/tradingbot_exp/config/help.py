"""The text of ``--help``: Hydra's, with the comment of each key beside it."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tradingbot_exp.config.facts import Facts
from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.runtime.text import listed

_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w.]+):(?P<value>.*)")
_GROUPS = ("data", "model", "training", "hpo", "tracking")
# Files that hold what the options of a group share; not options to choose.
_SHARED = "base"
# Whose comments count where several files set a key.
_FIRST = ("base", "default", "mlp", "local")


def commented_help(show: Callable[[], object]) -> str:
    """Run `show`, which prints Hydra's help, and return its text with a comment beside each key.

    Parameters
    ----------
    show : callable
        Prints the help; a SystemExit of status 0 that it raises is the end of it.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        show()
    comments = key_comments(conf_dir())
    text = re.sub(rf"(?m)^(\w+: .*?)\b{_SHARED}, ", r"\1", printed.getvalue())
    text = re.sub(r"\$\{tradingbot\.\w+:([^}]+)\}", r"\1", text)
    lines = [(line, comments.get(key, "")) for line, key in _with_keys(text)]
    return "\n".join(f"{line:<44}  # {comment}" if comment else line for line, comment in lines) + "\n"


def key_comments(folder: Path) -> dict[str, str]:
    """Collect the comments that stand above the keys of the configuration files, by dotted key.

    Where a comment has ``{names}``, the names that its key may have are listed.
    """
    comments: dict[str, str] = {}
    for file in sorted(folder.rglob("*.yaml"), key=lambda file: (file.stem not in _FIRST, file)):
        group = file.parent.name
        if group in _GROUPS:
            prefix = f"{group}."
        elif file.parent == folder:
            prefix = ""
        else:
            continue
        above: list[str] = []
        pairs = _with_keys(file.read_text(encoding="utf-8"))
        for line, key in pairs:
            if line.strip().startswith("#"):
                above.append(line.strip(" #"))
                continue
            if key and above:
                comments.setdefault(prefix + key, " ".join(above).replace("{names}", _names(facts_of(prefix + key))))
            above = []  # a blank line ends a file's own heading
    return comments


def _names(facts: Facts) -> str:
    """List the names that a key takes as a sentence does, ``a, b (what b is) or c``, and that plugins may add one."""
    notes = facts.names if isinstance(facts.names, Mapping) else {}
    words = [f"{name} ({notes[name]})" if notes.get(name) else name for name in facts.names]
    return listed([*words, "one of your own"] if callable(facts.one_of) else words, "or")


def _with_keys(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of YAML-like text with the dotted key that it sets, or an empty string."""
    open_keys: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _KEY.fullmatch(line)
        if not found:
            yield line, ""
            continue
        indent = len(found["indent"])
        open_keys = [(depth, name) for depth, name in open_keys if depth < indent]
        open_keys.append((indent, found["name"]))
        yield line, ".".join(name for _, name in open_keys)
