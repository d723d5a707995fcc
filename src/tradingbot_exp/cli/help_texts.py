"""Texts of the command line that are longer than a line."""

from __future__ import annotations

PREDICT = """\
Forecast from new bars with a recorded model: features and scaling as in its run, a row a bar, the last bar included.

columns:
  date      the bar at whose close the forecast is made
  forecast  in the target's unit: a log return, or the probability of a rise
  signal    the position that forecasts up to this bar ask for: the mean of the last data.horizon signs (of a
            probability, the sign of what it is above 0.5)
  position  what is held from this bar's close to the next one's, as in the run's backtest: the signal of
            evaluation.execution_lag bars before. The last signal is taken that many bars after the last bar.

Bars without enough history for the features are left out; give some hundred bars before the first that matters.
"""
