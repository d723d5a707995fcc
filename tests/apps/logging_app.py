"""A Hydra app that calls MLflow in all the ways in which programs do, and knows nothing of this project."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import hydra
import mlflow
import numpy as np
import statsmodels.api
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.tracking import fluent
from omegaconf import DictConfig
from sklearn.linear_model import LinearRegression

POOLS: list[ThreadPoolExecutor] = []  # made by a job, and outlive it


def plain(x: float) -> None:
    mlflow.log_metric("m", x)
    mlflow.log_param("p", x)
    mlflow.log_text("text", "own.txt")


def block(x: float) -> None:
    with mlflow.start_run():
        mlflow.log_metric("m", x)
    mlflow.log_metric("after", x)


def named(x: float) -> None:
    with mlflow.start_run(run_name="mine", tags={"t": "1"}, description="why") as run:
        assert run.info.run_id == mlflow.active_run().info.run_id
        mlflow.log_metric("m", x)


def twice(x: float) -> None:
    for number in range(2):
        with mlflow.start_run():
            mlflow.log_metric(f"m{number}", x)


def ended(x: float) -> None:
    mlflow.start_run()
    mlflow.log_metric("m", x)
    mlflow.end_run("KILLED")
    mlflow.end_run()
    mlflow.log_metric("after", x)


def nested(x: float) -> None:
    with mlflow.start_run(), mlflow.start_run(nested=True, run_name="child"):
        mlflow.log_metric("m", x)


def left_open(x: float) -> None:
    mlflow.start_run()
    mlflow.start_run(nested=True, run_name="child")
    mlflow.log_metric("m", x)


def threads(x: float) -> None:
    thread = threading.Thread(target=mlflow.log_metric, args=("m", x))
    thread.start()
    thread.join()
    POOLS.append(ThreadPoolExecutor(1))
    POOLS[0].submit(mlflow.log_metric, "pooled", x).result()


def experiment(x: float) -> None:
    found = mlflow.set_experiment("mine")
    with mlflow.start_run(experiment_id=found.experiment_id):
        mlflow.log_metric("m", x)


def scikit(x: float) -> None:
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    for _ in range(2):
        LinearRegression(fit_intercept=x > 0).fit(np.eye(3), np.arange(3))
    mlflow.sklearn.autolog(disable=True)


def models(x: float) -> None:
    """What `mlflow.pytorch.autolog` hooks into, Lightning, is not installed here."""
    mlflow.statsmodels.autolog(log_models=False, log_datasets=False, silent=True)
    statsmodels.api.OLS([x, 2.0, 4.0], [[1.0], [2.0], [3.0]]).fit()
    mlflow.statsmodels.autolog(disable=True)
    mlflow.pytorch.log_model(
        torch.nn.Linear(1, 1), name="net", serialization_format="pickle", pip_requirements=["torch"]
    )


def lightning(x: float) -> None:
    """What Lightning's `MLFlowLogger(run_id=..., tracking_uri=...)` does with the two."""
    client = MlflowClient(tracking_uri=mlflow.get_tracking_uri())
    run = client.get_run(mlflow.active_run().info.run_id)
    client.log_batch(run_id=run.info.run_id, metrics=[Metric("m", x, 1000, 0)])
    client.set_terminated(run.info.run_id, "FINISHED")
    client.log_batch(run_id=run.info.run_id, metrics=[Metric("tested", x, 1000, 0)])


def sweep_within(x: float) -> None:
    mlflow.log_metric("m", x)
    subprocess.run([sys.executable, __file__, "--multirun", "optimizer.name=plain,block", "x=7"], check=True)
    mlflow.log_metric("after", x)


def second_start(x: float) -> None:
    with mlflow.start_run():
        mlflow.start_run()


def failing(x: float) -> None:
    with mlflow.start_run():
        mlflow.log_metric("m", x)
        raise ValueError(f"x={x} is more than this app can take")


def other_store(x: float) -> None:
    mlflow.set_tracking_uri("sqlite:///other.db")
    with mlflow.start_run():
        mlflow.log_metric("m", x)


_PLAIN = (plain, block, named, twice, ended, nested, left_open, threads, experiment, scikit, models, lightning)
WAYS = {way.__name__: way for way in (*_PLAIN, sweep_within, second_start, failing, other_store)}


@hydra.main(config_path="plain_conf", config_name="config")
def main(config: DictConfig) -> float:
    WAYS[config.optimizer.name](config.x)
    return float(config.x)


def state() -> list[object]:
    """All of MLflow's state that a job could leave behind, in this thread and in that of the pool."""
    functions = [getattr(module, name) for module in (mlflow, fluent) for name in ("start_run", "end_run")]
    active = [mlflow.active_run(), POOLS[0].submit(mlflow.active_run).result() if POOLS else None]
    where = [mlflow.is_tracking_uri_set(), mlflow.get_tracking_uri(), fluent._active_experiment_id]
    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    return [*active, *where, variables, *functions, mlflow.set_experiment, mlflow.set_tracking_uri]


if __name__ == "__main__":
    before = state()
    main()
    assert state() == before
