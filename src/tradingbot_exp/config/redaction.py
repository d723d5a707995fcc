"""Removal of passwords, tokens and keys from text that is going to be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "***"
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|secret|token|api_?key|private_?key|credential|auth", re.I)
# user:password@ (or token@) between a scheme and a host.
_URI_CREDENTIALS = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|secret|token|key|sig)[^=&\s]*=)[^&\s'\"]+")
_SECRET_FILES = (
    re.compile(r"(^|/)(\.env(\.[^/]*)?|\.netrc|\.pgpass|\.pypirc|id_(rsa|dsa|ecdsa|ed25519))$"),
    re.compile(r"\.(pem|key|p12|pfx|kdbx|keystore)$", re.I),
    # Data, not code, called after a secret.
    re.compile(r"(secret|credential|passw(or)?d|token)[^/]*(\.(json|ya?ml|toml|ini|cfg|conf|txt|csv)|/[^/]+)?$", re.I),
)
_CODE = re.compile(r"\.(py|pyi|md|rst|ipynb|html|js|css|c|cpp|h|rs|go|java|sh|lock)$", re.I)


def redact(text: str) -> str:
    """Mask the credentials in every URI of `text`: ``http://me:pw@host`` becomes ``http://***@host``."""
    return _QUERY_SECRET.sub(rf"\1{MASK}", _URI_CREDENTIALS.sub(f"{MASK}@", text))


def redact_mapping(values: Mapping[str, str]) -> dict[str, str]:
    """Mask values whose names sound secret, and credentials within all others."""
    return {name: MASK if _SECRET_NAME.search(name) else redact(value) for name, value in values.items()}


def is_secret_file(name: str) -> bool:
    """Tell whether a file's name says that it holds secrets: ``.env``, ``id_rsa``, ``aws_credentials.json``."""
    if _CODE.search(name):
        return False
    return any(pattern.search(name) for pattern in _SECRET_FILES)
