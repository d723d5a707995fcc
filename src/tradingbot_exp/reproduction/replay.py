"""The program that trains a run again: started by path in a process of its own, it runs the code of the run's commit.

So it uses of this package only what a commit can be expected to have: `ConfigurationManager`, `ExperimentOrganizer`,
and the three steps of a job. It is given a JSON file, ``spec.json``, and leaves another beside it, ``result.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


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
    """Check the data, train, and give every metric at every step, tags, environment and packages."""
    from tradingbot_exp import ConfigurationManager, ExperimentOrganizer
    from tradingbot_exp.errors import TrainingError
    from tradingbot_exp.job_data import load_data

    config = ConfigurationManager(folder / "config.yaml").get_config()
    config.training.progress = "off"
    data = load_data(config)
    result: dict[str, Any] = {"fingerprint": data.fingerprint, "card": data.card}
    if data.fingerprint != spec["fingerprint"]:
        return result
    failure = None
    try:
        with ExperimentOrganizer(config).start_run("again") as run:
            train(config, run, spec, folder)
    except TrainingError as error:  # as the run itself, perhaps: the metrics will tell
        failure = f"{type(error).__name__}: {error}"
    return {**result, "failure": failure, **harvest(run.run_id, config.tracking.uri)}


def train(config: Any, run: Any, spec: dict[str, Any], folder: Path) -> None:
    """Run the job as it was run: alone, as a complete trial, or up to the epoch at which it ended."""
    from tradingbot_exp.experiment import finish, fit, fit_model, prepare

    if spec["trial"] and spec["stop_after"] is None:
        from tradingbot_exp.hpo.job import run_trial
        from tradingbot_exp.hpo.trial import Ticket

        run_trial(config, run, Ticket("again", 0, run.run_id, ""), folder)
        run.flush()
        from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

        EnhancedMLflowLogger(run).log_environment_details()
        return
    job = prepare(config, run, spec["overrides"])
    if spec["stop_after"] is None:
        finish(job, fit([job])[0])
    else:
        fit_model(job, job.logger, lambda epoch, record: epoch >= spec["stop_after"])


def harvest(run_id: str, uri: str) -> dict[str, Any]:
    """Read the run back out of the scratch store."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    run = client.get_run(run_id)
    place = Path(unquote(urlsplit(run.info.artifact_uri).path))
    environment = place / "environment" / "environment.json"
    requirements = place / "environment" / "requirements.txt"
    points = [
        [name, point.step, point.value]
        for name in run.data.metrics
        for point in client.get_metric_history(run_id, name)
    ]
    return {
        "points": points,
        "tags": dict(run.data.tags),
        "environment": json.loads(environment.read_text(encoding="utf-8")) if environment.is_file() else None,
        "requirements": requirements.read_text(encoding="utf-8") if requirements.is_file() else None,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
