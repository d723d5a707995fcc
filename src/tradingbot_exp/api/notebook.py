"""For notebooks: `train` runs the main job in this process, `load_run` gives a recorded run as Python objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.experiment.data import check_inputs
from tradingbot_exp.experiment.resume import find_resume_point
from tradingbot_exp.experiment.steps import run_in
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.tracking.reading.fetch import LOSSES, run_record
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.places import check_space
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.tracking.writing.outbox.unsent import send_command


def train(overrides: Sequence[str] = ()) -> LoadedRun:
    """Run the main job in this process: the checks, records and numbers of ``python -m tradingbot_exp.train``.

    The store is where the command would have it: `tracking.uri`, else `MLFLOW_TRACKING_URI`, else ``mlflow.db`` in
    the current directory.

    Parameters
    ----------
    overrides : sequence of str
        As on the command line: ``["model.learning_rate=0.005", "data=msft"]``; ``["training.resume=latest"]`` goes
        on with a run.

    Returns
    -------
    LoadedRun
        The finished run, read back from the store.

    Raises
    ------
    ConfigError, DataError
        Before anything is written.
    TrainingError
        The run is FAILED. A KeyboardInterrupt leaves it KILLED.
    RunError
        The run of `training.resume` cannot be resumed.
    TrackingError
        Records could not be written; those that are kept on disk are named.
    """
    config = compose_config(overrides)
    resume_point = find_resume_point(config, overrides)
    config = config if resume_point is None else resume_point.config
    check_inputs(config)
    check_space(launch_dir())
    organizer = ExperimentOrganizer(config)
    if config.tracking.on_error == "raise":
        organizer.connect()
    with organizer.start_run(resume_point=resume_point) as run:
        run_in(config, overrides, run)
    if run.delivery.failure is not None:
        raise TrackingError(
            f"The run {run.name} is trained, but MLflow could not take its records: they wait in "
            f"{run.delivery.unsent_folder}. Send them with `{send_command(run.uri)}`, then load_run()."
        )
    if config.tracking.report:
        report_at_end("training", run)
    return load_run(run.run_id, config.tracking.uri)


def load_run(run: str = "latest", tracking_uri: str | Path | None = None, *, trust: bool = False) -> LoadedRun:
    """Find a recorded run.

    Parameters
    ----------
    run : str
        Its id, a unique beginning of one, or ``latest``: the newest that is no trial; or a registered model,
        ``models:/NAME@champion`` or ``models:/NAME/3``, for the run that it is of.
    tracking_uri : str or Path, optional
        The store, or the folder in which it is; else `MLFLOW_TRACKING_URI`, else ``mlflow.db`` in the current
        directory. None is created.
    trust : bool
        Whether to run what the store says where the run asks for it: a model that is not this package's, a pickle, the
        modules that the run names as plugins, resolvers such as ``${oc.env:NAME}``. Only for runs of people you trust.

    Raises
    ------
    RunError
        There is none, or there are several.
    TrackingError
        There is no store, or it cannot be read.
    """
    store = open_store(tracking_uri)
    found = find_run(store, run)
    return LoadedRun(run_record(store, found, LOSSES), store, found, trust)
