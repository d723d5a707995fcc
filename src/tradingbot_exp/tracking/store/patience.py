"""Requests to MLflow: with settings of this package, and, once a store has answered, with patience in an outage."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.tracking.store.errors import reason

log = logging.getLogger(__name__)

_SETTINGS = {
    # MLflow's own wait four minutes for a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 2,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 30,
    # The address that it would print holds the password, if there is one.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": False,
}
# What these say about a request that fails is in the error too, which is waited out or raised.
_LOGGERS = ("mlflow.store.db.utils", "urllib3.connectionpool")
_is_ours: ContextVar[bool] = ContextVar("tradingbot_request", default=False)

PATIENCE = 600.0
PAUSE = 1.0
# A server that answers again within this time (s) is nothing to tell.
_BLIP = 2.0
_PERMANENT = ("readonly database", "disk is full", "no space left", "no such table", "no such column", "malformed")


@contextmanager
def own_request() -> Iterator[None]:
    """Make requests with this package's settings for the length of a ``with`` block, in this thread alone.

    A variable of the environment that the user has set comes first.
    """
    _prepare()
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


@cache
def _prepare() -> None:
    """Let MLflow read our settings within our requests: as variables they would hold for all of the user's program."""
    from mlflow import environment_variables

    for name, value in _SETTINGS.items():
        variable: Any = getattr(environment_variables, name)
        variable.get = partial(_setting, variable, variable.get, value)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(lambda _record: not _is_ours.get())


def _setting(variable: Any, usual: Callable[[], Any], value: Any) -> Any:
    return value if _is_ours.get() and not variable.is_set() else usual()


def is_outage(error: BaseException) -> bool:
    """Tell whether a request that failed may succeed later: the store is away or locked, and has refused nothing."""
    import requests
    from mlflow.exceptions import MlflowException, RestException

    text = str(error)
    if any(sign in text.lower() for sign in _PERMANENT):
        return False
    if isinstance(error, requests.HTTPError):
        return error.response is not None and (error.response.status_code >= 500 or error.response.status_code == 429)
    if isinstance(error, MlflowException):
        if error.error_code == "INTERNAL_ERROR":  # also of whatever goes wrong in MLflow's client
            return isinstance(error, RestException) or text.startswith("API request to")
        return error.get_http_status_code() in (429, 503, 504)
    return isinstance(error, ConnectionError | TimeoutError | requests.ConnectionError | requests.Timeout)


class Outage:
    """Whether a store answers, and how long it is waited for if it does not.

    Parameters
    ----------
    shown : str
        The store's address, without credentials.
    patience : float
        Seconds from the first request that fails.

    Attributes
    ----------
    is_on : bool
        Whether the store is away, and a line has said so.
    gave_up : Exception or None
        What the last request failed with, once patience was over; until one succeeds.
    """

    def __init__(self, shown: str, patience: float = PATIENCE) -> None:
        self._shown, self._patience = shown, patience
        self._since: float | None = None
        self._lock = threading.Lock()
        self.is_on = False
        self.gave_up: Exception | None = None

    def lasts(self, error: Exception, began: float) -> bool:
        """Take note of a request that failed; tell whether to make it again after a pause.

        Parameters
        ----------
        error : Exception
        began : float
            When the request was made, by `time.monotonic`.
        """
        if not is_outage(error):
            return False
        with self._lock:
            now = time.monotonic()
            self._since = began if self._since is None else self._since
            lasts = now - self._since < self._patience and interrupt.received() is None
            self.gave_up = None if lasts else error
            if lasts and not self.is_on and now - self._since >= _BLIP:
                self.is_on = True
                log.warning(
                    "The tracking store %s does not answer: %s. Training goes on, and records wait on this disk until "
                    "it does, for at most %g seconds (tracking.patience).",
                    self._shown,
                    reason(error).partition(". ")[0].rstrip("."),
                    self._patience,
                )
        return lasts

    def answered(self) -> None:
        """Take note of a request that succeeded."""
        if self._since is None:
            return
        with self._lock:
            since, self._since, self.gave_up = self._since, None, None
            if self.is_on and since is not None:
                self.is_on = False
                seconds = time.monotonic() - since
                log.warning("The tracking store %s answers again, after %.0f seconds.", self._shown, seconds)


@cache
def outage_of(uri: str, patience: float) -> Outage:
    """Return the one that all of this process share who use the same store, so that it is told once."""
    return Outage(redact(uri), patience)


class Client:
    """An `MlflowClient` whose requests are made as `own_request` says, and are made again in an outage.

    Parameters
    ----------
    raw : MlflowClient
    outage : Outage, optional
        Without it, nothing is waited for.

    Attributes
    ----------
    settle : callable
        Called before each request: what this process has written is to be seen by what it reads.
    """

    def __init__(self, raw: Any, outage: Outage | None = None) -> None:
        self.raw, self.outage = raw, outage
        self.settle: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.raw, name)
        return partial(self._request, found) if callable(found) else found

    def _request(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.settle()
        with own_request():
            while True:
                began = time.monotonic()
                try:
                    found = method(*arguments, **named)
                except Exception as error:
                    if self.outage is None or not self.outage.lasts(error, began):
                        raise
                    time.sleep(PAUSE)
                else:
                    if self.outage is not None:
                        self.outage.answered()
                    return found

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, str] | None = None,
        run_name: str | None = None,
    ) -> Any:
        """Create a run, once: where the answer was lost with the server, the run is there."""
        began, wanted, tries = start_time or time.time_ns() // 1_000_000, dict(tags or {}), 0

        def create() -> Any:
            nonlocal tries
            tries += 1
            if tries > 1:
                for run in self.raw.search_runs([experiment_id], f"attributes.start_time = {began}"):
                    if run_name in (None, run.info.run_name) and wanted.items() <= run.data.tags.items():
                        return run
            return self.raw.create_run(experiment_id, began, wanted, run_name)

        return self._request(create)
