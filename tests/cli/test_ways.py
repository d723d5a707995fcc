"""How a value comes from the command line to the optimizer, and a trial from ask to tell: each step is taken once."""

from __future__ import annotations

import json
from pathlib import Path

from support import in_ci, python

WORDS = ["data=synthetic", "training.learning_rate=0.002", "training.progress=off", "tracking.report=false"]
# Functions are counted from before anybody imports them.
PROGRAM = """
import json, sys
from collections import Counter
from functools import wraps
from pathlib import Path

import hydra.core.utils, optuna
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from tradingbot_exp.config import finalize
from tradingbot_exp.hpo import trial_spec

calls = Counter()

def count(owner, name):
    function = getattr(owner, name)

    @wraps(function)
    def counted(*arguments, **options):
        calls[name] += 1
        return function(*arguments, **options)

    setattr(owner, name, counted)

count(finalize, "finalize"), count(finalize, "vary"), count(optuna.Study, "ask"), count(hydra.core.utils, "run_job")
count(ConfigLoaderImpl, "load_sweep_config"), count(trial_spec.TrialSpec, "dumps"), count(trial_spec.TrialSpec, "loads")
from tradingbot_exp import train

status = train.run(sys.argv[1:])
Path("calls.json").write_text(json.dumps(calls))
sys.exit(status)
"""


def counted(workdir: Path, *words: str) -> dict[str, int]:
    """Run the command, and return how often it called what is counted."""
    done = python(workdir, "-c", PROGRAM, *WORDS, *words)
    assert done.status == 0, done.err
    found: dict[str, int] = json.loads((workdir / "calls.json").read_text())
    return found


@in_ci
def test_the_configuration_of_a_run_is_finalized_once(workdir: Path) -> None:
    assert counted(workdir, "training.epochs=1") == {"finalize": 1}


@in_ci
def test_between_ask_and_tell_of_a_study_there_is_no_text_and_no_composition(workdir: Path) -> None:
    space = ["hpo=guide", "+hpo.param_space.batch_size=[16,32,64,128]", "hpo.sampler=grid", "hpo.reseeds=0"]
    found = counted(workdir, "--multirun", "training.epochs=1", "hpo.num_trials=4", *space)
    assert found == {"finalize": 1, "ask": 4, "vary": 4}
