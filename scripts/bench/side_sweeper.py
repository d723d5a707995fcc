"""The plain hydra-optuna-sweeper with MLflow calls in the job, and a plain DataLoader loop."""

import sys

import hydra
import mlflow
from common import LEARNING_RATE, WEIGHT_DECAY, fit, load, log_trial, task, trial_params
from mlflow import MlflowClient
from omegaconf import DictConfig

import tradingbot_exp.config.schema  # noqa: F401 - registers the schema
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.train import TRUSTED

wanted = task()
rows = load(wanted.data)
mlflow.set_tracking_uri(wanted.store)
experiment = mlflow.set_experiment("bench")
client = MlflowClient()
parent = client.create_run(experiment.experiment_id, run_name="study").info.run_id
best = float("inf")


@hydra.main(config_path=str(conf_dir()), config_name="config", execution_whitelist=TRUSTED)
def job(config: DictConfig) -> float:
    """Train once."""
    global best  # noqa: PLW0603
    rate, decay = float(config.model.learning_rate), float(config.training.weight_decay)
    with mlflow.start_run(tags={"mlflow.parentRunId": parent}) as run:
        losses = fit(rows, rate, decay, wanted.epochs)
        log_trial(client, run.info.run_id, trial_params(wanted, rate, decay), losses)
    best = min(best, losses[-1][1])
    return losses[-1][1]


sys.argv = [
    "side_sweeper.py",
    "--multirun",
    "~hydra.callbacks.tracking",
    "hydra/sweeper=optuna",
    f"hydra.sweeper.n_trials={wanted.trials}",
    "hydra.sweeper.n_jobs=1",
    f"hydra.sweeper.sampler.seed={wanted.seed}",
    f"model.learning_rate=tag(log,interval({LEARNING_RATE[0]},{LEARNING_RATE[1]}))",
    f"training.weight_decay=tag(log,interval({WEIGHT_DECAY[0]},{WEIGHT_DECAY[1]}))",
]
job()
client.set_terminated(parent)
print(best)
