"""Our study with a clock: the command line as it is, but how long its loop and the training in it took is written.

The last line of standard output is a JSON object with the seconds of the loop, of asking, training, recording and
telling all trials, and of the training alone.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from tradingbot_exp import train
from tradingbot_exp.hpo.study import StudyLoop
from tradingbot_exp.training import loop, stacked

spent = {"loop": 0.0, "training": 0.0}


def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Add the seconds of each call to what was spent."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - started

    return run


StudyLoop.run = timed(StudyLoop.run, "loop")  # type: ignore[method-assign]
stacked.train_stack = timed(stacked.train_stack, "training")
loop.train_model = timed(loop.train_model, "training")
status = train.run(sys.argv[1:])
print(json.dumps(spent))
sys.exit(status)
