"""Experiment framework for neural networks that forecast markets.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradingbot_exp.api.arrays import run_hpo_study
    from tradingbot_exp.api.configuration import ConfigurationManager
    from tradingbot_exp.api.notebook import load_run, train
    from tradingbot_exp.reporting.reporter import ExperimentReporter
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.training.loop import train_model

__version__ = _version("tradingbot_exp")
__all__ = [
    "ConfigurationManager",
    "EnhancedMLflowLogger",
    "ExperimentOrganizer",
    "ExperimentReporter",
    "__version__",
    "load_run",
    "run_hpo_study",
    "train",
    "train_model",
]

_HOMES = {
    "ConfigurationManager": "tradingbot_exp.api.configuration",
    "EnhancedMLflowLogger": "tradingbot_exp.tracking.writing.logger",
    "ExperimentOrganizer": "tradingbot_exp.tracking.writing.organizer",
    "ExperimentReporter": "tradingbot_exp.reporting.reporter",
    "load_run": "tradingbot_exp.api.notebook",
    "run_hpo_study": "tradingbot_exp.api.arrays",
    "train_model": "tradingbot_exp.training.loop",
}


def __getattr__(name: str) -> Any:
    if name == "train":
        # The submodule of that name, which can be called: importing it would hide a function.
        return import_module("tradingbot_exp.train")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
