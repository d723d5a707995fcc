"""Optuna with optuna-integration's MLflow callback, and a plain DataLoader loop in the objective."""

import warnings

import mlflow
import optuna
from common import BATCH, BATCHES, LEARNING_RATE, WEIGHT_DECAY, fit, load, log_trial, task, trial_params
from mlflow import MlflowClient
from optuna_integration.mlflow import MLflowCallback

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.WARNING)
wanted = task()
rows = load(wanted.data)
mlflow.set_tracking_uri(wanted.store)
experiment = mlflow.set_experiment("bench")
client = MlflowClient()
callback = MLflowCallback(
    metric_name="objective",
    create_experiment=False,
    mlflow_kwargs={"nested": True, "experiment_id": experiment.experiment_id},
)


@callback.track_in_mlflow()
def objective(trial: optuna.Trial) -> float:
    """Train once."""
    rate = trial.suggest_float("learning_rate", *LEARNING_RATE, log=True)
    decay, batch = 0.0, BATCH
    if wanted.space == "default":
        batch = trial.suggest_categorical("batch_size", BATCHES)
    else:
        decay = trial.suggest_float("weight_decay", *WEIGHT_DECAY, log=True)
    losses = fit(rows, rate, decay, wanted.epochs, batch)
    active = mlflow.active_run()
    if active is not None:
        log_trial(client, active.info.run_id, trial_params(wanted, rate, decay, batch), losses)
    return losses[-1][1]


sampler = optuna.samplers.TPESampler(seed=wanted.seed, n_startup_trials=5)
study = optuna.create_study(sampler=sampler, storage="sqlite:///optuna.db")
with mlflow.start_run(run_name="study"):
    study.optimize(objective, n_trials=wanted.trials, callbacks=[callback])
print(study.best_value)
