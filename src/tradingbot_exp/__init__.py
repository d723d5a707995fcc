"""Experiment framework for neural networks that forecast markets.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime import package as _package
from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.api.arrays import run_hpo_study
    from tradingbot_exp.api.configuration import ConfigurationManager
    from tradingbot_exp.api.notebook import load_run, train
    from tradingbot_exp.reporting.reporter import ExperimentReporter
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.training.loop import train_model

__version__ = _package.VERSION
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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ConfigurationManager": "tradingbot_exp.api.configuration",
        "EnhancedMLflowLogger": "tradingbot_exp.tracking.writing.logger",
        "ExperimentOrganizer": "tradingbot_exp.tracking.writing.organizer",
        "ExperimentReporter": "tradingbot_exp.reporting.reporter",
        "load_run": "tradingbot_exp.api.notebook",
        "run_hpo_study": "tradingbot_exp.api.arrays",
        "train_model": "tradingbot_exp.training.loop",
        # The submodule of that name, which can be called: importing it would hide a function.
        "train": "tradingbot_exp.train",
    },
)
