"""The program that trains a run again: started by path in a process of its own, it runs the code of the run's commit.

That commit may be of any age. So this uses of the package what all have, `ConfigurationManager`,
`ExperimentOrganizer` and the steps of a job, and looks for the rest wherever a commit may have it. It is given a JSON
file, ``spec.json``, leaves another beside it, ``result.json``, and its records in the store that the configuration
names.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tradingbot_exp.errors import TrainingError

# Where what is not public is now, and where it was before.
_HOMES = {
    "load_data": ("tradingbot_exp.experiment.data", "tradingbot_exp.job_data", "tradingbot_exp.experiment"),
    "fit_model": ("tradingbot_exp.experiment.fitting", "tradingbot_exp.experiment"),
    "run_trial": ("tradingbot_exp.hpo.trial_run", "tradingbot_exp.hpo.job"),
    "TrialSpec": ("tradingbot_exp.hpo.trial_spec", "tradingbot_exp.hpo.trial"),
}
_FORMER = {"TrialSpec": "Ticket"}


def main(spec_file: Path) -> None:
    """Train what the specification says and write down what came of it; errors are written down too."""
    spec = json.loads(spec_file.read_text(encoding="utf-8"))
    try:
        result = replay(spec, spec_file.parent)
    except Exception as error:
        import traceback

        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {error}"}
    fresh = spec_file.with_name("result.new")
    fresh.write_text(json.dumps(result), encoding="utf-8")
    fresh.replace(spec_file.with_name("result.json"))


def replay(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Check the data, train, and say in which run all is recorded, and what it failed with."""
    from tradingbot_exp import ConfigurationManager, ExperimentOrganizer

    config = ConfigurationManager(folder / "config.yaml").get_config()
    config.training.progress = "off"
    data = _of_commit("load_data")(config)
    result: dict[str, Any] = {"fingerprint": data.fingerprint, "card": data.card}
    if data.fingerprint != spec["fingerprint"]:
        return result
    failure = None
    try:
        with ExperimentOrganizer(config).start_run("again") as run:
            train(config, run, spec, folder)
    except TrainingError as error:  # as the run itself, perhaps: the metrics will tell
        failure = f"{type(error).__name__}: {error}"
    return {**result, "failure": failure, "run_id": run.run_id}


def train(config: Any, run: Any, spec: dict[str, Any], folder: Path) -> None:
    """Run the job as it was run: alone, as a complete trial, or up to the epoch at which it ended."""
    from tradingbot_exp import EnhancedMLflowLogger
    from tradingbot_exp.experiment import finish, fit, prepare

    if spec["trial"] and spec["stop_after"] is None:
        trial = _of_commit("TrialSpec")("again", 0, run.run_id, "")
        _of_commit("run_trial")(config, run, trial, folder)
        run.flush()
        EnhancedMLflowLogger(run).log_environment_details()
        return
    job = prepare(config, run, spec["overrides"])
    if spec["stop_after"] is None:
        finish(job, fit([job])[0])
    else:
        _of_commit("fit_model")(job, job.logger, _StopAfter(spec["stop_after"]))


class _StopAfter:
    """Ends training after an epoch, as a listener or, in older commits, as a function."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_epoch(self, epoch: Any) -> bool:
        return bool(epoch.number >= self._epoch)

    def __call__(self, epoch: int, record: Any) -> bool:
        return epoch >= self._epoch


def _of_commit(name: str) -> Any:
    """Import a name from the first of its homes that the commit has."""
    for home in _HOMES[name]:
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name is None or not home.startswith(error.name):
                raise
            continue
        for known in (name, _FORMER.get(name, name)):
            if hasattr(module, known):
                return getattr(module, known)
    raise ImportError(f"this commit has no {name}, neither in {' nor in '.join(_HOMES[name])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
