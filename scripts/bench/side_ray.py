"""Ray Tune with its MLflow logger and Optuna's search, two trials at a time, actors reused."""

import os
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import mlflow
import ray
from common import LEARNING_RATE, WEIGHT_DECAY, fit, load, task, trial_params
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

wanted = task()
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
rows = ray.put(load(wanted.data))
mlflow.set_tracking_uri(wanted.store)
mlflow.set_experiment("bench")


def trainable(config: dict[str, float]) -> None:
    """Train once; the losses of each epoch are reported one by one, as Tune wants them."""
    losses = fit(ray.get(rows), config["learning_rate"], config["weight_decay"], wanted.epochs)
    for train_loss, val_loss in losses:
        tune.report({"train_loss": train_loss, "val_loss": val_loss, "final_loss": losses[-1][1]})


class AllParams(MLflowLoggerCallback):
    """Logs every key of the configuration, as the other sides do."""

    def log_trial_start(self, trial: object) -> None:
        """Extend what Tune knows of a trial's configuration for the time of logging it."""
        searched = trial.config  # type: ignore[attr-defined]
        params = trial_params(wanted, searched["learning_rate"], searched["weight_decay"])
        trial.config = params  # type: ignore[attr-defined]
        super().log_trial_start(trial)
        trial.config = searched  # type: ignore[attr-defined]


with mlflow.start_run(run_name="study") as parent:
    logger = AllParams(
        tracking_uri=wanted.store, experiment_name="bench", tags={"mlflow.parentRunId": parent.info.run_id}
    )
    search = OptunaSearch(metric="val_loss", mode="min", seed=wanted.seed)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(*LEARNING_RATE), "weight_decay": tune.loguniform(*WEIGHT_DECAY)},
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=wanted.trials, max_concurrent_trials=2, reuse_actors=True
        ),
        run_config=tune.RunConfig(callbacks=[logger], verbose=0, storage_path=str(Path("ray").resolve())),
    )
    results = tuner.fit()
print(results.get_best_result("val_loss", "min").metrics["val_loss"])
