"""That a run's model forecast bars is kept on the run: whoever saw such forecasts has looked at these dates.

Of each market one tag, ``predicted.<key>``, holds the spans of bars that were forecast. A market that is not
the run's own has its returns beside it, ``predicted/<key>.parquet``, by which it is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.identity import Returns, Span, joined, write_returns
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from tradingbot_exp.tracking.store.store import Store

PREDICTED = "predicted"
"""Tag of a run whose model has made forecasts, and the folder of the returns of other markets."""
OWN = "own"
_TRIES = 5
_MOST = 100  # spans of a tag


@dataclass(frozen=True)
class Predicted:
    """Bars of one market that a run's model has forecast.

    Attributes
    ----------
    instrument : str
        What the market is called.
    spans : tuple of (str, str)
        First and last bar, as `tradingbot_exp.data.identity.stamp` writes them; none shares a date with another.
    returns : str
        Path of the market's returns among the run's artifacts; empty of the run's own market.
    """

    instrument: str
    spans: tuple[Span, ...]
    returns: str = ""


def predictions_of(tags: Mapping[str, str]) -> Iterator[Predicted]:
    """Read the tags; what is not as this package writes it is left out."""
    for name, text in tags.items():
        if name.startswith(f"{PREDICTED}."):
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                found = json.loads(text)
                spans = tuple((_moment(start), _moment(end)) for start, end in found["spans"])
                yield Predicted(str(found["instrument"]), spans, str(found["returns"]))


def _moment(text: object) -> str:
    datetime.fromisoformat(str(text))
    return str(text)


def note_prediction(store: Store, run_id: str, instrument: str, dates: Span, returns: Returns | None = None) -> None:
    """Keep that a run's model forecast bars of a market, joined to what is kept of it.

    Parameters
    ----------
    store : Store
    run_id, instrument : str
    dates : (str, str)
    returns : Series, optional
        Of a market that is not the run's own, its one-bar returns by date.

    Raises
    ------
    TrackingError
        The store cannot be written.
    """
    client, key, path = store.client, OWN, ""
    if returns is not None and len(returns):
        first = float(returns.to_numpy(dtype=np.float64).ravel()[0])
        key = hashlib.sha256(f"{instrument} {returns.index[0]} {first:.6g}".encode()).hexdigest()[:12]
        path = f"{PREDICTED}/{key}.parquet"
    name = f"{PREDICTED}.{key}"
    with wrapped(f"The forecasts cannot be kept on record in the run {run_id}"):
        if path and returns is not None:
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / f"{key}.parquet"
                write_returns(returns.rename("return") if isinstance(returns, pd.Series) else returns, file)
                store.log_artifact(run_id, file, PREDICTED)
        wanted = Predicted(instrument, (dates,), path)
        refused: Exception = TimeoutError(f"other processes write its tag {name} at the same time")
        for _ in range(_TRIES):  # two may write at once: whoever finds less than was meant, writes again
            tags = store.run(run_id).data.tags
            known = next(predictions_of({name: tags.get(name, "")}), wanted)
            spans = joined((*known.spans, *wanted.spans))
            spans = spans if len(spans) <= _MOST else ((spans[0][0], spans[-1][1]),)
            wanted = Predicted(instrument, spans, path)
            if known == wanted and name in tags and PREDICTED in tags:
                return
            try:
                client.set_tag(run_id, name, json.dumps(asdict(wanted)))
                client.set_tag(run_id, PREDICTED, "true")
            except Exception as error:  # MLflow refuses one of two who make a tag at once
                refused = error
        raise refused
