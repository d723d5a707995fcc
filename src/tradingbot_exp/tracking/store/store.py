"""A tracking store that is there already: opened by its address or its folder, searched, and read."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tradingbot_exp.config.paths import TRACKING_DATABASE, launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import RunError, TrackingError, near
from tradingbot_exp.tracking.store.errors import DamagedError, quiet, reason, wrapped
from tradingbot_exp.tracking.store.places import (
    inside,
    local_artifacts,
    require_inside,
    require_own_server,
    sqlite_path,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.pyfunc import PyFuncModel

_PAGE = 1000
_AT_ONCE = 8  # questions to a server


@dataclass(frozen=True)
class Store:
    """A tracking store that is open. Whatever MLflow raises in its methods is a `TrackingError`.

    Attributes
    ----------
    client : MlflowClient
        For those who write runs.
    uri : str
        With any credentials.
    """

    client: MlflowClient
    uri: str

    @property
    def shown(self) -> str:
        """The URI as it may be shown."""
        return redact(self.uri)

    def experiments(self, name: str | None = None, *, deleted: bool = False) -> dict[str, str]:
        """Return the names of all experiments by id, or that of the named one; with `deleted` the deleted ones too.

        Raises
        ------
        RunError
            There is none of that name.
        """
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        with wrapped(f"The experiments in {self.shown} cannot be read"):
            pages = _paged(self.client.search_experiments, view_type=view, max_results=_PAGE)
            found = {str(each.experiment_id): str(each.name) for each in pages}
        if name is None:
            return found
        named = {number: each for number, each in found.items() if each == name}
        if not named:
            there = ", ".join(sorted(found.values())) or "none"
            raise RunError(
                f"There is no experiment '{name}' in {self.shown}; there are: {there}.{near(name, found.values())}"
            )
        return named

    def search(
        self,
        query: str = "",
        experiments: Collection[str] | None = None,
        *,
        deleted: bool = False,
        newest_first: bool = False,
        most: int | None = None,
    ) -> Iterator[Run]:
        """Yield the runs that a query finds, in the order of their start, page by page.

        Parameters
        ----------
        query : str
            In MLflow's language; empty for all runs.
        experiments : collection of str, optional
            Ids of the experiments to look in; if not given, all of the store.
        deleted : bool
            Whether deleted runs count, and deleted experiments.
        newest_first : bool
        most : int, optional
            Yield no more than these.
        """
        from mlflow.entities import ViewType

        where = list(self.experiments(deleted=deleted) if experiments is None else experiments)
        with wrapped(f"The runs in {self.shown} cannot be read"):
            pages = _paged(
                self.client.search_runs,
                experiment_ids=where,
                filter_string=query,
                run_view_type=ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
                max_results=min(most or _PAGE, _PAGE),
                order_by=[f"attributes.start_time {'DESC' if newest_first else 'ASC'}"],
            )
            yield from islice(pages if where else (), most)

    def run(self, run_id: str) -> Run:
        """Read a run by its whole id."""
        with wrapped(f"The run {run_id} cannot be read from {self.shown}"):
            return self.client.get_run(run_id)

    def points(self, run_ids: Sequence[str], name: str) -> Iterator[tuple[str, Metric]]:
        """Yield the points of a metric of some runs, each with the run's id; those of a run in their order.

        An SQL store is asked for many runs at once, a server for several side by side.
        """
        backend: Any = getattr(getattr(self.client, "_tracking_client", None), "store", None)
        ask = self.client.get_metric_history
        with wrapped(f"The metric {name} cannot be read from {self.shown}"):
            if len(run_ids) > 1 and hasattr(backend, "get_metric_history_bulk"):
                for ids in (run_ids[start : start + _PAGE] for start in range(0, len(run_ids), _PAGE)):
                    yield from ((each.run_id, each) for each in backend.get_metric_history_bulk(list(ids), name, 10**9))
                return
            if self.uri.startswith("http"):
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    found = list(pool.map(lambda run_id: ask(run_id, name), run_ids))
            else:
                found = [ask(run_id, name) for run_id in run_ids]
            yield from ((run_id, each) for run_id, points in zip(run_ids, found, strict=True) for each in points)

    def names(self, run: Run, folder: str = "") -> set[str]:
        """Return the paths of the artifacts in one folder of a run's."""
        with wrapped(f"The artifacts of the run {run.info.run_id} cannot be listed"):
            require_own_server(self.uri, run.info.artifact_uri)
            return {str(each.path) for each in self.client.list_artifacts(run.info.run_id, folder or None)}

    def artifact(self, run: Run, path: str, parse: Callable[[Path], Any]) -> Any:
        """Read an artifact of a run by `parse`, which takes a file; return None if it is not there.

        Raises
        ------
        DamagedError
            It is not what `parse` takes.
        TrackingError
            It cannot be read, or `path` leads out of the run's artifacts.
        """
        what = f"{path} of the run {run.info.run_id}"
        artifacts = local_artifacts(run.info.artifact_uri, run.info.run_id)
        place = tempfile.TemporaryDirectory() if artifacts is None else nullcontext(str(artifacts))
        with wrapped(f"{what} cannot be read"), place as folder:
            file = inside(Path(folder), path)
            if artifacts is None and path in self.names(run, path.rpartition("/")[0]):
                file = Path(self.client.download_artifacts(run.info.run_id, path, folder))
            if not file.is_file():
                return None
            try:
                return parse(file)
            except (OSError, TrackingError):
                raise
            except Exception as error:
                raise DamagedError(f"{what} is damaged: {reason(error)}", reason(error)) from error

    def log_artifact(self, run_id: str, file: Path, folder: str) -> None:
        """Put a file among the artifacts of a run that is over.

        Raises
        ------
        TrackingError
            A link leads out of them, or MLflow does not take it.
        """
        with wrapped(f"{file.name} cannot be put among the artifacts of the run {run_id}"):
            artifact_uri = self.run(run_id).info.artifact_uri
            require_own_server(self.uri, artifact_uri)
            require_inside(artifact_uri, run_id, folder, file)
            self.client.log_artifact(run_id, str(file), folder)

    def annotate(self, run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float] | None = None) -> None:
        """Write tags, and metrics of the whole run, into a run that is over."""
        from mlflow.entities import Metric, RunTag

        now = time.time_ns() // 1_000_000
        points = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        with wrapped(f"The run {run_id} in {self.shown} cannot be written to"):
            self.client.log_batch(run_id, points, tags=[RunTag(*tag) for tag in tags.items()], synchronous=True)

    def reopen(self, run: Run, stale: Collection[str]) -> None:
        """Let a run that has ended go on, without those of its tags that this makes untrue."""
        run_id = run.info.run_id
        with wrapped(f"The run {run_id} in {self.shown} cannot be opened again"):
            self.client.update_run(run_id, status="RUNNING")
            for name in set(stale) & set(run.data.tags):
                self.client.delete_tag(run_id, name)

    def has_model(self, run: Run) -> bool:
        """Tell whether a run has a model, among its artifacts or logged by MLflow 3, which keeps models beside runs."""
        return _model_folder(run) is not None or "model/MLmodel" in self.names(run, "model")

    def model(self, run: Run) -> PyFuncModel:
        """Load the model of a run that has one, by whatever loader it names itself: only of a run that is trusted."""
        import mlflow

        with wrapped(f"The model of the run {run.info.run_name} cannot be loaded"), quiet("mlflow"):
            require_own_server(self.uri, run.info.artifact_uri)
            # What is downloaded stays: a model may import its own code later.
            folder = _model_folder(run) or self.client.download_artifacts(run.info.run_id, "model")
            return cast("PyFuncModel", mlflow.pyfunc.load_model(str(folder)))


def _model_folder(run: Run) -> Path | None:
    """Return the folder of a run's model, where it is among artifacts of this machine."""
    artifacts = local_artifacts(run.info.artifact_uri, run.info.run_id)
    there = artifacts is not None and inside(artifacts, "model/MLmodel").is_file()
    return artifacts / "model" if artifacts is not None and there else None


def _paged(ask: Callable[..., Any], **query: Any) -> Iterator[Any]:
    """Yield what a query of MLflow's finds, page by page."""
    token = None
    while True:
        page = ask(**query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


GIVEN_URI: list[str | None] = []
"""`MLFLOW_TRACKING_URI` as it was given, while a run is MLflow's active one: MLflow sets it to that run's store."""


def default_uri() -> str:
    """Return the store that a command means when none is named: `MLFLOW_TRACKING_URI`, else ``mlflow.db`` here."""
    given = GIVEN_URI[0] if GIVEN_URI else os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{launch_dir() / TRACKING_DATABASE}"


def open_store(uri: str | Path | None = None) -> Store:
    """Open a store that is there already; nothing is created.

    Parameters
    ----------
    uri : str or Path, optional
        A URI; or a directory: the database in it or beside it, or an old file store. `default_uri` if not given.

    Raises
    ------
    TrackingError
        There is no store, or it cannot be read.
    """
    address = store_address(str(uri) if uri is not None else default_uri())
    path = sqlite_path(address)
    if path is not None and not path.is_file():
        raise TrackingError(
            f"There is no tracking store at {path}. Give the folder in which the runs were started, or the store's "
            "address with --tracking-uri (MLFLOW_TRACKING_URI)."
        )
    from tradingbot_exp.tracking.store.client import open_client

    return Store(open_client(address), address)


def store_address(given: str) -> str:
    """Return the URI of a store that is named by one, or by a directory.

    Raises
    ------
    TrackingError
        There is no store in the directory.
    """
    return given if "://" in given or given.startswith("sqlite:") else _directory_store(given)


def _directory_store(given: str) -> str:
    """Return the URI of the store that a bare path means."""
    place = Path(given.removeprefix("file:")).expanduser()
    place = place if place.is_absolute() else launch_dir() / place
    if place.is_file():
        return f"sqlite:///{place}"
    for database in (place / TRACKING_DATABASE, place.parent / TRACKING_DATABASE):
        if database.is_file():
            return f"sqlite:///{database}"
    if place.is_dir() and any(place.glob("*/meta.yaml")):
        # MLflow 3 opens its old file store only for those who ask for it.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return place.as_uri()
    raise TrackingError(
        f"There is no tracking store in {place}: no {TRACKING_DATABASE} in it or beside it, and no MLflow file store."
    )
