"""A recorded run for notebooks and programs: it forecasts, and opens its test set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.recorded.backtest import backtest
from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.predict import predict
from tradingbot_exp.recorded.refit import refit
from tradingbot_exp.tracking.reading.fetch import run_record
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.lookup import find_run

if TYPE_CHECKING:
    import pandas as pd

    from tradingbot_exp.recorded.backtest import Backtested
    from tradingbot_exp.recorded.result import Opened


class LoadedRun(RecordedRun):
    """A recorded run, with what can be done with it. What is large is read when it is first asked for."""

    def predict(self, bars: pd.DataFrame | str | Path, symbol: str | None = None) -> pd.DataFrame:
        """Forecast from new bars, with features and scaling as in this run: `tradingbot_exp.recorded.predict.predict`.

        Parameters
        ----------
        bars : pandas.DataFrame, or path of a file, a folder or a glob, as `data.path` names it
            In time order, with the columns of the bars that the run was trained on.
        symbol : str, optional
            The instrument, where the bars are of several; of a run on several, whose rows are wanted.

        Returns
        -------
        pandas.DataFrame
            A row a bar that has enough history: `date`; `forecast`; `signal`, the position that it asks for; and
            `position`, held from this bar's close to the next one's, `evaluation.execution_lag` bars after its signal.
            Of a run on several symbols, in order of date and `symbol`, and with the `weight` that each position is.
        """
        return predict(self, bars, symbol).frame

    def backtest(self, values: Mapping[str, Any] | None = None) -> Backtested:
        """Judge the recorded validation forecasts under other position rules and costs, as ``backtest`` does.

        Every combination counts as a try where returns are judged: see `tradingbot_exp.recorded.backtest.backtest`.

        Parameters
        ----------
        values : mapping, optional
            A value, or a sequence of them, by key, such as ``{"evaluation.cost_bps": [0, 1, 5]}``.

        Returns
        -------
        Backtested
            Its `table` has a row a combination.
        """
        return backtest(self.run_id, values, self._store.uri, trust=self.trust)

    def refit(
        self, through: str | None = None, *, data: str | Path | None = None, register: str | None = None
    ) -> LoadedRun:
        """Train this run's configuration on all bars up to a date, as ``refit --yes`` does; of a study, its best's.

        What is used of the test set counts as an opening: see `tradingbot_exp.recorded.refit.refit`.

        Returns
        -------
        LoadedRun
            The run of kind ``refit``, which has the model.
        """
        made = refit(self.run_id, self._store.uri, data=data, through=through, register=register, trust=self.trust)
        found = find_run(self._store, made.run_id)
        return LoadedRun(run_record(self._store, found), self._store, found, self.trust)

    def evaluate(self) -> Opened:
        """Open the sealed test set for this run, as ``evaluate --yes`` does; of a study, its ensemble's or best's.

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
        return open_test_set(self.run_id, self._store.uri, trust=self.trust)
