"""What a command prints with ``--json``, and whether a file may be written over."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.errors import ReportError
from tradingbot_exp.runtime.files import holds_other


def json_text(tree: Any) -> str:
    """Write plain values as JSON, secrets masked; NaN and infinities, which it does not have, become text."""
    return json.dumps(mask_secrets(_finite(tree)), indent=2, allow_nan=False) + "\n"


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(each) for key, each in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(each) for each in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree


def require_free(option: str, path: Path, what: str, *marks: str, force: bool) -> None:
    """Refuse to write over a file that an option names, but for one of the same kind, or by `force`.

    Raises
    ------
    ReportError
        It holds something else than `what`, or cannot be read.
    """
    with written(option, path, make_folder=False):
        if not force and holds_other(path, *marks):
            raise ReportError(
                f"{option} {path} is there already, and holds no {what}: it is not written over. Name another file, or "
                "give --force."
            )


@contextmanager
def written(option: str, path: Path, make_folder: bool = True) -> Iterator[None]:
    """Make the folder of a file that an option names, and say by one `ReportError` why it cannot be written."""
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ReportError(f"{option} {path} cannot be written: {error.strerror}.") from error
