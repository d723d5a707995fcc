"""A recorded run for notebooks and programs: it forecasts, and opens its test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.predict import predict
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun

if TYPE_CHECKING:
    import pandas as pd

    from tradingbot_exp.recorded.result import Opened


class LoadedRun(RecordedRun):
    """A recorded run, with what can be done with it. What is large is read when it is first asked for."""

    def predict(self, bars: pd.DataFrame | str | Path, symbol: str | None = None) -> pd.DataFrame:
        """Forecast from new bars, with features and scaling as in this run: `tradingbot_exp.recorded.predict.predict`.

        Parameters
        ----------
        bars : pandas.DataFrame, or path of a file as `data.path` names it
            In time order, with the columns of the bars that the run was trained on.
        symbol : str, optional
            The instrument, where the bars are of several.

        Returns
        -------
        pandas.DataFrame
            A row a bar that has enough history: `date`; `forecast`; `signal`, the position that it asks for; and
            `position`, held from this bar's close to the next one's, `evaluation.execution_lag` bars after its signal.
        """
        return predict(self, bars, symbol).frame

    def evaluate(self) -> Opened:
        """Open the sealed test set for this run, as ``evaluate --yes`` does; of a study, for its best trial.

        Nobody is asked. Every call counts as an opening of these dates, and is recorded as a run of kind
        ``test_evaluation``. This object goes on showing the run as it was loaded.

        Returns
        -------
        Opened
            `metrics` and `intervals` named ``test_…``, the `validation` metrics beside them, and the `number` of times
            that these dates have been opened.

        Raises
        ------
        RunError
            There is no model to judge.
        DataError
            The data are gone, or are other ones than the run saw.
        """
        return open_test_set(self.run_id, self._store.uri)
