"""Removal of passwords, tokens and keys from text that is going to be kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
# A shorter password would be masked in the middle of other words.
_SHORTEST = 4
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|secret|token|api_?key|private_?key|credential|auth", re.I)
# Whole words at the end, so that `tokenizer` and `max_tokens` are no secrets.
_SECRET_KEY = re.compile(
    r"(^|[_.-])(password|passwd|pwd|secret|token|(api|access|private|secret)_?key|credentials?)$", re.I
)
# user:password@ (or token@) between a scheme and a host; a password may hold an @ itself.
_URI_CREDENTIALS = re.compile(r"(?<=://)[^\s/]+@")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|secret|token|key|sig)[^=&\s]*=)[^&\s]+")
_ASSIGNED = re.compile(rf"([\w.+]*(?:{_SECRET_NAME.pattern})[\w]*=)(\S+)", re.I)
_SECRET_FILES = (
    re.compile(r"(^|/)(\.envrc|[^/]*\.env(\.[^/]*)?|[._]netrc|\.pgpass|\.pypirc|\.npmrc|kubeconfig)$"),
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
# Passwords of the addresses in use, which no pattern may tell from the text around them.
_known: set[str] = set()


def remember(uri: str | None) -> None:
    """Take note of the password in an address, so that `redact` masks it wherever it turns up."""
    found = re.match(r"[\w+.-]+://[^:@/]*:(?P<password>.+)@", uri or "")
    if found and len(found["password"]) >= _SHORTEST:
        _known.add(found["password"])


def redact(text: str) -> str:
    """Mask the credentials in every URI of `text`: ``http://me:pw@host`` becomes ``http://***@host``."""
    for password in _known:
        text = text.replace(password, MASK)
    return _QUERY_SECRET.sub(rf"\1{MASK}", _URI_CREDENTIALS.sub(f"{MASK}@", text))


def mask_secrets(tree: Any) -> Any:
    """Mask, in a nested configuration, values of keys that are called after a secret, and what `redact` masks."""
    if isinstance(tree, Mapping):
        return {
            key: MASK
            if value and not isinstance(value, Mapping) and _SECRET_KEY.search(str(key))
            else mask_secrets(value)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [mask_secrets(value) for value in tree]
    return redact(tree) if isinstance(tree, str) else tree


def redact_command(text: str) -> str:
    """Mask what `redact` masks, and the values of arguments whose names sound secret."""
    return _ASSIGNED.sub(lambda found: f"{found[1]}{MASK}", redact(text))


class RedactingFormatter(logging.Formatter):
    """Formats a log record and masks credentials in it, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, masked."""
        return redact(super().format(record))


def redact_mapping(values: Mapping[str, str]) -> dict[str, str]:
    """Mask values whose names sound secret, and credentials within all others."""
    return {name: MASK if _SECRET_NAME.search(name) else redact(value) for name, value in values.items()}


def is_secret_file(name: str) -> bool:
    """Return whether a file's name says that it holds secrets: ``.env``, ``id_rsa``, ``aws_credentials.json``."""
    if _CODE.search(name):
        return False
    return any(pattern.search(name) for pattern in _SECRET_FILES)
