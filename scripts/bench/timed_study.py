"""Our study with a clock: the command line as it is, but how long its loop and the training in it took is written.

The last line of standard output is a JSON object with the seconds of the loop, of asking, training, recording and
telling all trials, and of the training in it; the winner's training with other seeds comes after it.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from tradingbot_exp import train
from tradingbot_exp.hpo.loop import StudyLoop
from tradingbot_exp.runtime.collector import collect_seldom
from tradingbot_exp.training import loop, stacked

spent = {"loop": 0.0, "training": 0.0}
within: list[str] = []


def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Add the seconds of each call to what was spent."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        within.append(name)
        try:
            return function(*arguments, **options)
        finally:
            within.remove(name)
            if name == "loop" or within == ["loop"]:
                spent[name] += time.perf_counter() - started

    return run


StudyLoop.run = timed(StudyLoop.run, "loop")  # type: ignore[method-assign]
stacked.train_stack = timed(stacked.train_stack, "training")
loop.train_model = timed(loop.train_model, "training")
collect_seldom()
status = train.run(sys.argv[1:])
print(json.dumps(spent))
sys.exit(status)
