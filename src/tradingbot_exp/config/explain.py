"""One readable message for each way in which a command line can be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tradingbot_exp.config.keys import BLOCKS, KEYS, MAPPINGS
from tradingbot_exp.errors import ConfigError, near


def refuse_option_spelling(arguments: Sequence[str]) -> None:
    """Answer ``--model.learning_rate 0.005`` with the spelling that Hydra reads, and refuse what Hydra trips over.

    Raises
    ------
    ConfigError
        An argument is written as an option, but is a configuration key; or it has no key, or a number for an option.
    """
    for position, argument in enumerate(arguments):
        name, equals, value = argument.lstrip("-").partition("=")
        if equals and not name.strip("+~"):
            raise ConfigError(f"'{argument}' names no key. Write KEY=VALUE, such as model.learning_rate=0.005.")
        if name in BLOCKS and re.fullmatch(r"[-+]?[\d.]+|true|false", value, re.I):
            raise ConfigError(f"{argument}: {name} takes the name of an option, {name}=NAME; --help shows them.")
        above, _, below = name.strip("+~").rpartition(".")
        if above in KEYS and above not in BLOCKS | MAPPINGS and not below.isdigit():
            raise ConfigError(f"{argument}: {above} has no keys below it. Write {above}=VALUE.")
        if not argument.startswith("--") or not (name in KEYS or "." in name):
            continue
        if not equals:
            following = arguments[position + 1 : position + 2]
            value = following[0] if following and not following[0].startswith("-") else "VALUE"
        hint = "" if name in KEYS else near(name, KEYS)
        raise ConfigError(f"{argument}: keys are set without dashes and with an equals sign: {name}={value}.{hint}")


def explain(error: Exception) -> str:
    """Turn an exception of Hydra or OmegaConf into one message that names the key and what would be right."""
    text = "\n".join(dict.fromkeys(str(e).strip() for e in (error, error.__cause__) if e is not None and str(e)))
    key = _key_of(error, text)
    for pattern, explainer in _EXPLAINERS:
        if found := pattern.search(text):
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
    return f"{key} is not a key of the configuration.{near(key, KEYS)}{added} `--cfg job` shows all keys."


def _other_kind(key: str, _: re.Match[str]) -> str:
    said = f"{key or 'A value'} cannot become a list where it is a mapping, or a mapping where it is a list."
    if not key.startswith("hpo.param_space."):
        return said
    return (
        f"{said} Write '{key}=choice(1,2,3)' for a choice, and for a range '{key}=interval(0.1,0.9)' or, of whole "
        f"numbers, '{key}=range(1,9)'."
    )


def _untrusted(_: str, found: re.Match[str]) -> str:
    where = f"{found[1]} names" if found[1] else "A file names"
    return (
        f"{where} {found[2]}, which configuration may not make: only what is of this package, or of a package of yours "
        f"that the key plugins names, such as plugins=[{found[2].rpartition('.')[0]}]."
    )


_NOISE = re.compile(
    r"\s*(object_type|reference_type|full_key)[:=]|Error merging override |Config search path:|\s*provider=|See https?:"
)
_TYPES = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false", "String": "a text"}
# What Hydra or OmegaConf say, and the message for it: of the key, if they say it, and what the pattern found.
_EXPLAINERS: tuple[tuple[re.Pattern[str], Callable[[str, re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), explainer)
    for pattern, explainer in (
        (
            r"(?:([\w.]+): )?Target '([\w.]+)' (?:is not in|cannot be authorized by) the\s+Hydra execution whitelist",
            _untrusted,
        ),
        (
            r"Could not override '|not in struct|[Kk]ey '[^']*' (is )?not in '",
            lambda key, found: unknown_key(key or found[0]),
        ),
        (
            r"Value '(.*)' of type '.*' could not be converted to (\w+)",
            lambda key, found: f"{key} must be {_TYPES.get(found[2], found[2])}; got '{found[1]}'.",
        ),
        (
            r"is not Optional|[Ii]nvalid value.*None|Non optional field cannot be assigned None|value 'None' for field",
            lambda key, _: f"{key} must have a value; got null. Leave it out for its default.",
        ),
        (
            r"Invalid value assigned: .* is not a ListConfig",
            lambda key, _: f"{key} must be a list, such as [64, 32], also of one.",
        ),
        (r"Cannot merge incompatible container types", _other_kind),
        (
            r"Recursive interpolation detected|maximum recursion depth",
            lambda key, _: f"{key or 'A value'} refers to itself, directly or through other keys. Give it a value.",
        ),
        (
            r"Could not append to config. An item is already at '([^']+)'",
            lambda _, found: f"+{found[1]} adds a key, and {found[1]} is there already. Write {found[1]}=VALUE.",
        ),
        (
            r"Error parsing override '(.*)'\nmissing EQUAL|Error when parsing index: \d+, string: ( *) out of \[",
            lambda _, found: (
                f"'{found[1] or found[2] or ''}' is not a setting. Write KEY=VALUE, such as model.learning_rate=0.005; "
                "--help shows the keys."
            ),
        ),
        (
            r"Error when parsing index: \d+, string: (.+) out of \[",
            lambda _, found: (
                f"{found[1]} cannot be read as KEY=VALUE: brackets and quotes have to be closed, names are made of "
                "letters, digits, _ and -, and a value with other signs stands in quotes, 'KEY=\"VALUE\"'."
            ),
        ),
        (
            r"Ambiguous value for argument '(.*)'|Sweep parameters '(.*)' requires --multirun",
            lambda _, found: (
                f"{found[1] or found[2]} names several values, and one run takes one. --multirun searches over "
                "them; a list is written in brackets, KEY=[A,B], and a text with commas in quotes, KEY=\\'A,B\\'."
            ),
        ),
        (
            r"Value '(.*)' is not a valid (bool) ",
            lambda key, found: f"{key} must be true or false; got '{found[1]}'.",
        ),
        (
            r"Cannot convert '\w+' to string: '(.*)'",
            lambda key, found: f"{key} must be a text; got {found[1]}.",
        ),
        (
            r"Invalid type assigned: NoneType is not a subclass of (\w+)",
            lambda key, found: f"{key} must be a value of type {found[1]}; got null.",
        ),
        (
            r"does not support deletion",
            lambda key, _: f"{key} cannot be taken out: a run needs it. Give it a value, {key.lstrip('~')}=VALUE.",
        ),
        (
            r"GrammarParseError|(at|recognition error at|alternative at) input '|token recognition error",
            lambda key, _: (
                f"{key or 'A value'} begins a reference that cannot be read. It is written as ${{model.dropout}}."
            ),
        ),
        (
            r"Interpolation key '([^']*)' not found",
            lambda key, found: f"{key or 'A value'} refers to '{found[1]}', which is not there.{near(found[1], KEYS)}",
        ),
    )
)


def _key_of(error: Exception, text: str) -> str:
    """Find the key that an error is about; empty if it does not say."""
    within = re.search(r"Could not override '([^']+)'(?:.|\n)*?full_key: (\1\.\S+)$", text, re.MULTILINE)
    if within:  # what is missing is in a block that is there
        return within[2]
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
