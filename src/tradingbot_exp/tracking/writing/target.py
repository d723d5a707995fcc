"""The run that is written to: one that is given, else the innermost that is open, else MLflow's active one."""

from __future__ import annotations

from typing import Any

import mlflow

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.writing.active import current_run
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder
from tradingbot_exp.tracking.writing.run import TrackedRun


class RunTarget:
    """Finds the run at each use.

    Parameters
    ----------
    run : TrackedRun, MLflow run, or run id, optional
        Else, at each use, the innermost run that an `ExperimentOrganizer` has open, else MLflow's active run.
    """

    def __init__(self, run: Any = None) -> None:
        self._given = run
        self._attached: dict[str, TrackedRun] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run!r})" if self.has_run else f"{type(self).__name__}(no run is open)"

    @property
    def run(self) -> TrackedRun:
        """The run that is written to now."""
        if isinstance(self._given, TrackedRun):
            return self._given
        if self._given is not None:
            return self._attach(self._given if isinstance(self._given, str) else self._given.info.run_id)
        run = current_run()
        if run is not None:
            return run
        active = mlflow.active_run()
        if active is None:
            raise TrackingError(
                "No run is open to log to. Log inside `with ExperimentOrganizer(config).start_run():` or "
                "`with mlflow.start_run():`, or give the logger a run: EnhancedMLflowLogger(run)."
            )
        return self._attach(active.info.run_id)

    @property
    def has_run(self) -> bool:
        """Whether there is a run to write to now."""
        try:
            return self.run is not None
        except TrackingError:
            return False

    def _attach(self, run_id: str) -> TrackedRun:
        if run_id not in self._attached:
            client = mlflow.MlflowClient()
            delivery = Delivery.attach(client, client.get_run(run_id), unsent_folder(), mlflow.get_tracking_uri())
            self._attached[run_id] = TrackedRun(delivery, run_id, buffered=False)
        return self._attached[run_id]
