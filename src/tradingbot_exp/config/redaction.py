"""Removal of passwords, tokens and keys from whatever leaves the process: records, files, reports and messages."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from tradingbot_exp.runtime.text import printable

MASK = "***"
# A shorter password would be masked where it means something else.
_SHORTEST = 4
# Nor are values masked wherever they turn up, whatever their keys say, that are short, plain words, numbers or paths.
_TELLING = re.compile(r"(?![a-z]+$|[A-Z]+$|\d+$|/[\w./-]*$).{6,}", re.S)
# How names of secrets end: `db_password`, `githubToken`, `AWS_ACCESS_KEY_ID`; not `tokenizer` or `max_tokens`.
_NAME = (
    r"(?:passwords?|passwd|passphrase|passcode|pwd|secrets?|token|credentials?|authorization|private_?key_?id"
    r"|(?:api|access|private|secret|account|auth|encryption|signing|shared|service|master)[_-]?keys?(?:[_-]?id)?"
    r"|(?:api|access|auth)[_-]?tokens|(?<![^\W_])(?:pass|auth))"
)
_SECRET_NAME = re.compile(rf"{_NAME}(?=\.|$)", re.I)
# What stands where a password would: nothing, a reference, a placeholder, a word of YAML, JSON or Python.
_NO_VALUE = r"""(?!["']?(?:\*\*\*|\$\{|<|(?:null|none|true|false)\b)|""|''|[\s,;&)\]}]|$)"""
_VALUE = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.|'')*'|[^\s"'&]+)"""
_ASSIGNED = re.compile(rf"""({_NAME}["']?\]?\s?=(?!=)\s?){_NO_VALUE}{_VALUE}""", re.I)
_QUOTED = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*')"""
# A line of YAML, a header of HTTP; an entry of JSON.
_LINE = re.compile(
    rf"""(^[ \t]*(?:- +)?[\w.+/-]{{0,60}}?{_NAME}[ \t]*:[ \t]+){_NO_VALUE}(?:{_QUOTED}|[^\n]+)""", re.I | re.M
)
_ENTRY = re.compile(
    rf"""((?:{_NAME}["']|[{{,]\s*[\w.+/-]{{0,60}}?{_NAME})\s*:\s*){_NO_VALUE}(?:{_QUOTED}|[^\s"',}}]+)""", re.I
)
# `--password VALUE`, of commands.
_OPTION = re.compile(rf"""(--[\w-]{{0,60}}?{_NAME}[ \t]+)(?!-){_NO_VALUE}(?:{_QUOTED}|[^\s"'&}}]+)""", re.I)
# What those patterns have in common, to be looked for first: it is quicker.
_HINT = re.compile(r"(?:pass|pwd|secret|token|credential|auth|key)[\w\"'\]-]*[ \t]*[=: ]", re.I)
# Secrets that can be told by their form.
_SHAPES = re.compile(
    r"""\b(?:AKIA|ASIA)[0-9A-Z]{16}\b
    |\bgh[oprsu]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}
    |\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)[-_][\w-]{16,}|\bsk-[A-Za-z0-9]{32,}
    |\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{40,}|\bhf_[A-Za-z0-9]{30,}
    |\bdapi[0-9a-f]{32}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+
    |(?<=hooks\.slack\.com/services/)[\w/]+|(?i:(?<=\bbearer\ ))[\w.~+/-]{16,}=*
    |-----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY(?:\ BLOCK)?-----(?s:.*?(?:-----END\ [A-Z0-9 ]*PRIVATE\ KEY[^\n]*?-----|\Z))""",
    re.X,
)
_MARKS = (
    # speed: no shorter than they must be, as "gh" of a "weight" in the header of 26 MB of forecasts costs 9 s
    *("AKIA", "ASIA", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "xox", "sk-", "sk_", "pk-"),
    *("pk_", "rk-", "rk_", "AIza", "ya29.", "npm_", "pypi-", "hf_", "dapi", "SG.", "eyJ", "hooks.slack.com"),
    *("earer ", "PRIVATE KEY"),
)
# user:password@ or token@ between a scheme and a host. An @ may stand in a password, and a slash too, where what is
# before it can be no port.
_URI_CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/]+|[^\s/:@]+:(?!\d+/)[^\s\"'<>]*)@")
# Of databases a user alone is no secret.
_USER_ALONE = re.compile(r"[\w.+-]*(?:sqlite|postgresql|mysql|mssql|mariadb)[\w+]*://$")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|secret|token|key|sig)[^=&\s]*=)[^&\s\"']+")
_WORD = re.compile(r"[+~]*([\w./@-]+)=(?!\s*(?:null|true|false)?\s*$)(.+)", re.S)

_SECRET_FILES = (
    re.compile(r"(^|/)(\.envrc|[^/]*\.env(\.[^/]*)?|[._]netrc|\.pgpass|\.pypirc|\.npmrc|kubeconfig)$"),
    re.compile(r"(^|/)\.(my\.cnf|databrickscfg|s3cfg|boto|htpasswd|git-credentials|dockercfg|vault-token)$"),
    re.compile(r"(^|/)\.(aws|ssh|gnupg|kube|docker|azure)/"),
    re.compile(r"(^|/)id_(rsa|dsa|ecdsa|ed25519)[^/]*$"),
    re.compile(r"\.(pem|key|p12|pfx|kdbx|keystore|asc|gpg)$", re.I),
    # Data, not code, called after a secret.
    re.compile(
        r"(secret|credential|passw(or)?d|token|api_?key|private_?key|service[-_]account)[^/]*"
        r"(\.(json|ya?ml|toml|ini|cfg|conf|txt|csv)|/[^/]+)?$",
        re.I,
    ),
)
_CODE = re.compile(r"\.(py|pyi|md|rst|ipynb|html|js|css|c|cpp|h|rs|go|java|sh|lock)$", re.I)
# In source, a secret is a text in quotes; what stands bare is a name or a call.
_LITERAL = re.compile(
    rf"""{_NAME}["']?\]?\s*(?::\s*[\w\[\]|. ]+)?(?:=|:|(?<=["'])\s*,)\s*(?:[rbu]|br)?(?P<quote>["']{{1,3}})"""
    r"""(?!\*\*\*|\$\{|<|%\(|\{)[^"'\n]+["']""",
    re.I,
)
_URI_PASSWORD = re.compile(r"://[^\s/:@\"']+:[^\s/@\"'{}<>*$]+@[\w.-]")

# Whole references, without a default, which might be a password.
_REFERENCE = re.compile(r"\$\{(?:oc\.env:)?[\w.]+\}|\?\?\?")
# What no pattern may tell from the text around it, and what is written in its place.
_known: dict[str, str] = {}
_of_environment: dict[str, str] = {}
# Of keys that refer to an environment variable, the value and the reference.
_references: dict[str, tuple[Any, str]] = {}


def remember(uri: str | None) -> None:
    """Take note of the password in an address, so that `redact` masks it wherever it turns up."""
    found = re.match(r"[\w+.-]+://[^:@/]*:(?P<password>.+)@", uri or "")
    if found:
        for password in (found["password"], unquote(found["password"])):
            _remember(password, MASK)


def remember_values(written: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Take note of what a configuration refers to, and of what it keeps under names of secrets.

    Parameters
    ----------
    written, values : mapping of str to object
        By dotted key, before and after references are resolved.
    """
    read_environment()
    for key, text in written.items():
        value = values.get(key)
        if refers_to_environment(text):
            _references[key] = value, text
        else:
            _references.pop(key, None)  # of an earlier configuration in this process
        if _is_secret(key, value) and isinstance(value, str | int | float) and _TELLING.fullmatch(str(value)):
            _remember(str(value), text if _REFERENCE.fullmatch(str(text)) else MASK)


def read_environment() -> None:
    """Take note of the values of environment variables that are called after secrets."""
    _of_environment.clear()
    _of_environment.update(
        (value, MASK)
        for name, value in os.environ.items()
        if name not in ("PWD", "OLDPWD") and is_secret_name(name) and _TELLING.fullmatch(value)
    )


def refers_to_environment(text: Any) -> bool:
    """Return whether a value is a text with a reference to an environment variable."""
    return isinstance(text, str) and "${oc.env:" in text


def as_written(key: str, value: Any) -> Any:
    """Return how a value is kept: as the reference to an environment variable that it came from, if it is a text."""
    came, reference = _references.get(key, (None, ""))
    return reference if reference and isinstance(value, str) and value == came else value


def _remember(secret: str, instead: str) -> None:
    if len(secret) >= _SHORTEST and not secret.isdigit():  # numbers stand everywhere, in JSON and tables too
        _known[secret] = instead


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a key or variable is called after a secret, as ``db.password`` is and ``tokenizer`` is not."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """Mask what is secret in a text that leaves the process.

    Masked are passwords and tokens in URIs (``http://me:pw@host`` becomes ``http://***@host``), values of keys,
    arguments and variables that are called after a secret, keys that can be told by their form, and what `remember`,
    `remember_values` and `read_environment` took note of. Of a line that begins with such a name and a colon, the rest
    is taken for the value.
    """
    for secret, instead in (*_of_environment.items(), *_known.items()):
        if secret in text:
            # Whole words: the password of postgresql://postgres:postgres@host is part of its scheme.
            before, behind = (r"(?<!\w)" if secret[0].isalnum() else ""), (r"(?!\w)" if secret[-1].isalnum() else "")
            text = re.sub(before + re.escape(secret) + behind, instead, text)
    if "://" in text:
        text = _QUERY_SECRET.sub(rf"\1{MASK}", _URI_CREDENTIALS.sub(_masked_credentials, text))
    if any(mark in text for mark in _MARKS):
        text = _SHAPES.sub(MASK, text)
    if not _HINT.search(text):
        return text
    return "".join(_masked_line(line) if _HINT.search(line) else line for line in text.splitlines(keepends=True))


def _masked_line(line: str) -> str:
    for pattern in (_ASSIGNED, _LINE, _ENTRY, _OPTION):
        line = pattern.sub(_masked_value, line)
    return line


def _masked_value(found: re.Match[str]) -> str:
    value, is_json = found[0][len(found[1]) :], found[1].rstrip(" :").endswith('"')
    if _is_of_token(found[1].strip(" \t:=\"']"), value):
        return found[0]
    quote = value[0] if value[0] in "\"'" else '"' if is_json else ""
    return f"{found[1]}{quote}{MASK}{quote}"


def _masked_credentials(found: re.Match[str]) -> str:
    scheme = found.string[max(0, found.start() - 40) : found.start()]
    alone = ":" not in found[0].replace("\\:", ":") and _USER_ALONE.search(scheme)
    return found[0] if alone else f"{MASK}@"


def mask_secrets(tree: Any, *, secret: bool = False) -> Any:
    """Mask, in nested plain values, those whose keys are called after a secret, and in texts what `redact` masks.

    Overrides, ``KEY=VALUE``, are masked by their keys, and so is what follows an option such as ``--token``. With
    `secret`, every leaf is masked.
    """
    if isinstance(tree, Mapping):
        return {key: mask_secrets(value, secret=secret or _is_secret(str(key), value)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        before = ["", *tree]
        return [
            mask_secrets(value, secret=secret or (str(name).startswith("--") and is_secret_name(str(name))))
            for name, value in zip(before, tree, strict=False)
        ]
    if secret and tree is not None and not isinstance(tree, bool) and tree != "":
        return tree if _REFERENCE.fullmatch(str(tree)) else MASK
    if not isinstance(tree, str):
        return tree
    word = _WORD.fullmatch(tree)
    if word and is_secret_name(word[1]) and not _REFERENCE.fullmatch(word[2]) and not _is_of_token(word[1], word[2]):
        return tree[: word.start(2)] + MASK
    return redact(tree)


def _is_secret(key: str, value: Any) -> bool:
    """Tell a secret by its key."""
    return is_secret_name(key) and not (isinstance(value, int | float) and _is_of_token(key, str(value)))


def _is_of_token(name: str, value: str) -> bool:
    """Tell the number of a token, as a vocabulary has: it may decide a result, and is no secret."""
    return name.lower().endswith("token") and re.fullmatch(r"-?\d+(\.\d+)?", value.strip()) is not None


class RedactingFormatter(logging.Formatter):
    """Formats a log record, masks what is secret in it, tracebacks included, and takes control characters out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return printable(redact(super().format(record)))


def is_secret_file(name: str) -> bool:
    """Return whether a file's name says that it holds secrets: ``.env``, ``id_rsa``, ``aws_credentials.json``."""
    if _CODE.search(name):
        return False
    return any(pattern.search(name) for pattern in _SECRET_FILES)


def holds_secret(text: str, *, source: bool) -> bool:
    """Return whether a file's text, or a diff of it, holds what `redact` would mask.

    Parameters
    ----------
    text : str
    source : bool
        Of Python source, where only a text in quotes can be a password.
    """
    known = any(secret in text for secret in (*_of_environment, *_known) if _TELLING.fullmatch(secret))
    if known or _SHAPES.search(text) or _URI_PASSWORD.search(text) or _LITERAL.search(text):
        return True
    if source:
        return False
    lines = "\n".join(line[1:] if line[:1] in ("+", "-", " ") else line for line in text.split("\n"))
    return any(pattern.search(lines) for pattern in (_ASSIGNED, _LINE, _ENTRY))


read_environment()
