"""A YAML file of configuration, read with suspicion: a path gives plain values and the line of each key."""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.config.explain import explain
from tradingbot_exp.config.keys import BLOCKS, KEYS, MAPPINGS
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.runtime.text import listed

MAX_BYTES = 256 * 1024
# Keys and values after every alias is spelled out: a few lines of aliases can stand for billions.
MAX_VALUES = 10_000
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
}
_WANTED = "It takes blocks of keys, such as 'training:' and indented below it 'epochs: 20'."


@dataclass(frozen=True)
class YamlFile:
    """What a file says.

    Attributes
    ----------
    path : Path
    tree : dict
        Nested plain values; interpolations are still text.
    lines : mapping of str to int
        Line of each dotted key, from 1; keys that come from a ``<<`` are left out.
    """

    path: Path
    tree: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def error(self, text: str, key: str = "") -> ConfigError:
        """Make an error that names the file and, if it is known, the line of `key` or of the block around it."""
        names = key.split(".") if key else []
        around = (".".join(names[:length]) for length in range(len(names), 0, -1))
        return _error(self.path, text, next((self.lines[name] for name in around if name in self.lines), None))


def read_yaml(path: Path) -> YamlFile:
    """Read a file whose top level is a mapping with names as keys.

    Raises
    ------
    ConfigError
        There is no such file, or it is not a regular file, longer than 256 KiB, empty, not UTF-8, not YAML, no
        mapping, has a key twice, a tag (a Python object is never made), or aliases that multiply.
    """
    text = require_text(path)
    if not text.strip():
        raise _error(path, f"the file is empty. {_WANTED}")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise _error(path, f"the file holds nothing but comments. {_WANTED}")
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            raise _error(path, f"the file is {kind}. {_WANTED}", _line(node))
        lines = dict(_keys(path, node))
        tree = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.YAMLError as error:
        raise syntax_error(path, text, error) from error
    except RecursionError as error:
        raise _error(path, "values are nested too deeply, or an alias refers to itself.") from error
    except OmegaConfBaseException as error:
        raise YamlFile(path, {}, lines).error(explain(error), str(getattr(error, "full_key", None) or "")) from error
    return YamlFile(path, cast("dict[str, Any]", tree), lines)


def require_text(path: Path) -> str:
    """Return the text of a file of configuration.

    Raises
    ------
    ConfigError
        It is not there, no regular file, longer than 256 KiB, or not UTF-8.
    """
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise _error(path, "this is a directory. Name a YAML file in it.")
        if not stat.S_ISREG(about.st_mode):
            raise _error(path, "this is not a regular file. Name a YAML file.")
        if about.st_size > MAX_BYTES:
            size = f"{about.st_size / 1024**2:.1f} MiB"
            raise _error(path, f"the file has {size}; a configuration has at most {MAX_BYTES // 1024} KiB.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(path, f"there is no such file.{_near_file(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _error(path, f"the file cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise _error(path, f"the byte 0x{byte:02x} is no UTF-8. Save the file as UTF-8.", line) from error


def _near_file(path: Path) -> str:
    """Suggest a file whose name resembles that of a missing one, its ending aside."""
    others = {file.stem: file.name for file in path.parent.glob("*.y*ml")} if path.parent.is_dir() else {}
    found = difflib.get_close_matches(path.stem, others, n=1, cutoff=0.6)
    return f" Did you mean '{others[found[0]]}'?" if found else ""


def _keys(path: Path, root: yaml.MappingNode) -> Iterator[tuple[str, int]]:
    """Yield every dotted key with its line, and refuse what plain configuration does not have."""
    seen = 0

    def walk(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
        nonlocal seen
        seen += 1
        if seen > MAX_VALUES:
            raise _error(path, f"aliases and values make more than {MAX_VALUES} values.", _line(node))
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            what = prefix.rstrip(".") or "the file"
            raise _error(path, f"{what} has the tag {tag}. Plain values only; no object is made.", _line(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from walk(item, prefix)
        elif isinstance(node, yaml.MappingNode):
            yield from pairs(node, prefix)

    def pairs(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, int]]:
        own: dict[str, int] = {}
        for key, value in node.value:
            name, line = _key_name(path, key), _line(key)
            if name in own:
                raise _error(path, f"the key '{prefix}{name}' is there twice, first on line {own[name]}.", line)
            own[name] = line
            if name == "<<":
                for _ in walk(value, prefix):  # looked at, but its keys stand elsewhere
                    pass
                continue
            yield f"{prefix}{name}", line
            yield from walk(value, f"{prefix}{name}.")

    return walk(root, "")


def _key_name(path: Path, key: yaml.Node) -> str:
    """Return a key that is a name; a number, a date or ``on``, which YAML takes for true, is none."""
    if isinstance(key, yaml.ScalarNode) and key.tag.rpartition(":")[2] in ("str", "merge", "value"):
        return str(key.value)
    shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
    hint = f' Put it in quotes: "{shown}".' if isinstance(key, yaml.ScalarNode) else ""
    raise _error(path, f"{shown} stands as a key, and YAML does not read it as a name.{hint}", _line(key))


def syntax_error(path: Path, text: str, error: yaml.YAMLError) -> ConfigError:
    """Make the error of a text that is not YAML, with the line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not admit
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        return _error(path, f"not YAML: {getattr(error, 'reason', None) or error}.", line)
    line = mark.line + 1
    lines = text.split("\n")
    written = lines[mark.line] if mark.line < len(lines) else ""
    if re.match(r"\s*\t", written) or "'\\t'" in str(error):
        return _error(path, "a tab. YAML is indented with spaces.", line)
    problem = str(getattr(error, "problem", None) or error)
    if "expected a single document" in str(error):
        problem = "a second document begins. A configuration is one; take out the '---'"
    elif "mapping values are not allowed" in problem:
        problem = "a colon where no key can be; check the indentation, or put the value in quotes"
    context = getattr(error, "context_mark", None)
    begun = f", in what begins on line {context.line + 1}" if context is not None and context.line < mark.line else ""
    shown = f" The line is {written.strip()[:80]!r}." if written.strip() else ""
    return _error(path, f"not YAML: {problem}{begun}.{shown}", line)


def composing_error(error: yaml.YAMLError) -> ConfigError:
    """Name file and line of an error that Hydra met while it read a file of configuration; of a text there are none."""
    mark = getattr(error, "problem_mark", None)
    path = Path(str(getattr(error, "name", "") if mark is None else mark.name))
    return (
        syntax_error(path, path.read_text("utf-8", "replace"), error)
        if path.is_file()
        else ConfigError(" ".join(str(error).split()))
    )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _error(path: Path, text: str, line: int | None = None) -> ConfigError:
    return ConfigError(f"{path}{'' if line is None else f', line {line}'}: {redact(text)}")


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
    _check_block(file, {key: value for key, value in file.tree.items() if key != "defaults"}, "")
    return _choices(file) if "defaults" in file.tree else {}


def _check_block(file: YamlFile, block: Mapping[str, Any], prefix: str) -> None:
    for name, value in block.items():
        key = f"{prefix}{name}"
        if "." in name or key not in KEYS:
            raise file.error(f"{key} is not a key of the configuration.{_hint(key, prefix)}", key)
        if value == "???":
            raise file.error(f"{key} is '???', which stands for no value. Give it one, or leave it out.", key)
        if (key in BLOCKS or key in MAPPINGS) and not isinstance(value, dict):
            raise file.error(_no_block(key, value), key)
        if key in BLOCKS:
            _check_block(file, value, f"{key}.")


def _no_block(key: str, value: Any) -> str:
    if value is None:
        return f"{key} has nothing below it. Indent its keys below it, or leave it out."
    if isinstance(value, str) and (conf_dir() / key / f"{value}.yaml").is_file():
        return f"{key} is '{value}', and takes a block of keys. The override '{key}={value}' chooses that option."
    kind = {"list": "a list", "str": "a text"}.get(type(value).__name__, "a single value")
    return f"{key} is {kind} ({value}), and takes a block of keys."


def _hint(key: str, prefix: str) -> str:
    """Say where a key belongs, or which one is near."""
    names = [other.removeprefix(prefix) for other in KEYS if other.rpartition(".")[0] == prefix.rstrip(".")]
    if not prefix and key in KEYS:
        block, _, name = key.partition(".")
        return f" Write it in its block: '{block}:' and below it '  {name}: ...'."
    last = key.rpartition(".")[2]
    elsewhere = [other for other in KEYS if other.rpartition(".")[2] == last and "." in other]
    if elsewhere:
        return f" There is {listed(elsewhere)}."
    found = near(last, names)
    if found:
        return found.replace("'", f"'{prefix}", 1)
    where = f"{prefix.rstrip('.')} has the keys" if prefix else "The blocks are"
    return near(key, KEYS) or f" {where}: {', '.join(names)}."


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
