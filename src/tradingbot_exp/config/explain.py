"""One readable message for each way in which a command line can be wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError, near


def known_keys(schema: type[Any] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every key of the schema, dotted."""
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        key = f"{prefix}{item.name}"
        yield key
        if dataclasses.is_dataclass(hints[item.name]):
            yield from known_keys(hints[item.name], f"{key}.")


def refuse_option_spelling(arguments: Sequence[str]) -> None:
    """Answer ``--model.learning_rate 0.005`` with the spelling that Hydra reads.

    Raises
    ------
    ConfigError
        An argument is written as an option, but is a configuration key.
    """
    keys = set(known_keys())
    for position, argument in enumerate(arguments):
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("--") or not (name in keys or "." in name):
            continue
        if not equals:
            following = arguments[position + 1 : position + 2]
            value = following[0] if following and not following[0].startswith("-") else "VALUE"
        hint = "" if name in keys else near(name, keys)
        raise ConfigError(f"{argument}: keys are set without dashes and with an equals sign: {name}={value}.{hint}")


def explain(error: Exception) -> str:
    """Turn an exception of Hydra or OmegaConf into one message that names the key and what would be right."""
    text = "\n".join(dict.fromkeys(str(e).strip() for e in (error, error.__cause__) if e is not None and str(e)))
    key = _key_of(error, text)
    for kind, explainer in _EXPLAINERS:
        found = kind.search(text)
        if found:
            return explainer(key, found)
    options = getattr(error, "options", None)
    lines = [line for line in text.splitlines() if not _NOISE.match(line)]
    message = "\n".join(lines)
    if options:
        wanted = re.search(r"Could not find '([\w/]+)'", message)
        group, _, name = (wanted[1] if wanted else "").rpartition("/")
        return f"{group}={name} is not there. The options are: {', '.join(options)}.{near(name, options)}"
    return f"{key}: {message}" if key and key not in message else message


def unknown_key(key: str) -> str:
    """Say that a key is none, and which one is near."""
    added = (
        f" To add it, write +{key}=VALUE."
        if re.match(r"(experiment\.tags|hpo\.param_space|(model|data)\.options)\.", key)
        else ""
    )
    return f"{key} is no key of the configuration.{near(key, known_keys())}{added} `--cfg job` shows all keys."


def _unknown_key(key: str, found: re.Match[str]) -> str:
    key = key or found[0]
    if key in set(known_keys()):
        return f"{key} cannot be given a whole mapping here. Set its keys one by one, new ones as +{key}.NAME=VALUE."
    return unknown_key(key)


def _wrong_type(key: str, found: re.Match[str]) -> str:
    value, wanted = found.group("value"), found.group("wanted")
    return f"{key}={value} has the wrong type: expected is {_TYPES.get(wanted, wanted)}."


def _not_null(key: str, found: re.Match[str]) -> str:
    return f"{key}=null is impossible: this key needs a value. Leave it out for its default."


def _no_override(key: str, found: re.Match[str]) -> str:
    return f"'{found[1]}' is no setting. Write KEY=VALUE, such as model.learning_rate=0.005; --help shows the keys."


def _unresolved(key: str, found: re.Match[str]) -> str:
    return f"{key or 'A value'} refers to '{found[1]}', which is not there.{near(found[1], known_keys())}"


def _no_list(key: str, found: re.Match[str]) -> str:
    return f"{key} takes a list, such as [64, 32], also of one."


def _other_kind(key: str, found: re.Match[str]) -> str:
    said = f"{key or 'A value'} cannot become a list where it is a mapping, or a mapping where it is a list."
    if not key.startswith("hpo.param_space."):
        return said
    return (
        f"{said} Right would be '{key}=choice(1,2,3)' for a choice, and for a range "
        f"'{key}=interval(0.1,0.9)' or, of whole numbers, '{key}=range(1,9)'."
    )


def _circular(key: str, found: re.Match[str]) -> str:
    return f"{key or 'A value'} refers to itself, directly or through other keys. Give it a value."


def _unreadable(key: str, found: re.Match[str]) -> str:
    return f"{key or 'A value'} begins a reference that cannot be read. It is written as ${{model.dropout}}."


def _untrusted(key: str, found: re.Match[str]) -> str:
    where = f"{found[1]} names" if found[1] else "A file names"
    return (
        f"{where} {found[2]}, which configuration may not make: only what is of this package, or of a package of yours "
        f"that the key plugins names, such as plugins=[{found[2].rpartition('.')[0]}]."
    )


_NOISE = re.compile(r"\s*(object_type|reference_type|full_key)[:=]|Config search path:|\s*provider=|See https?:")
_TYPES = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false", "String": "a text"}
_EXPLAINERS = (
    (re.compile(r"(?:([\w.]+): )?Target '([\w.]+)' is not in the Hydra execution whitelist"), _untrusted),
    (re.compile(r"Could not override '|not in struct|[Kk]ey '[^']*' (is )?not in '"), _unknown_key),
    (
        re.compile(r"Value '(?P<value>.*)' of type '.*' could not be converted to (?P<wanted>\w+)"),
        _wrong_type,
    ),
    (
        re.compile(
            r"is not Optional|[Ii]nvalid value.*None|Non optional field cannot be assigned None|value 'None' for field"
        ),
        _not_null,
    ),
    (re.compile(r"Invalid value assigned: .* is not a ListConfig"), _no_list),
    (re.compile(r"Cannot merge incompatible container types"), _other_kind),
    (re.compile(r"Recursive interpolation detected|maximum recursion depth"), _circular),
    (
        re.compile(r"GrammarParseError|(at|recognition error at|alternative at) input '|token recognition error"),
        _unreadable,
    ),
    (re.compile(r"Error parsing override '(.*)'\nmissing EQUAL"), _no_override),
    (re.compile(r"Error when parsing index: \d+, string: ( *) out of \["), _no_override),
    (re.compile(r"Interpolation key '([^']*)' not found"), _unresolved),
)


def _key_of(error: Exception, text: str) -> str:
    """Find the key that an error is about; empty if it does not say."""
    within = re.search(r"full_key: ((?:hpo\.param_space\.\w+|data\.columns)\.\w+)$", text, re.MULTILINE)
    if within:  # what is missing is in a block that is there
        return within[1]
    for pattern in (
        r"Could not override '([^']+)'",
        r"full_key: (\S+)",
        r"[Ee]rror merging override \+*([^=\s]+)=",
    ):
        found = re.search(pattern, text)
        if found:
            return found[1]
    keys = (getattr(cause, "full_key", None) for cause in (error, error.__cause__))
    return next((str(key) for key in keys if key), "")
