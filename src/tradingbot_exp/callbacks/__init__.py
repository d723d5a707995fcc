"""Hydra callbacks: thin adapters that open and close MLflow runs at the right moments.

Hydra only warns about an exception that a callback raises and runs the job untracked. So what goes wrong
here is either carried out as a `Refusal`, which ends the process, or handed to the task, which raises it.
"""

from tradingbot_exp.callbacks.experiment import ExperimentCallback
from tradingbot_exp.callbacks.tracking import TrackingCallback

__all__ = ["ExperimentCallback", "TrackingCallback"]
