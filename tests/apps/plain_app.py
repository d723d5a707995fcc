"""A Hydra app that knows nothing of this project but the callback in its config."""

import hydra
import mlflow
from omegaconf import DictConfig


@hydra.main(config_path="plain_conf", config_name="config")
def main(config: DictConfig) -> float:
    if mlflow.active_run() is not None:
        mlflow.log_metric("own_metric", config.x * 2)
    if config.x > 2:
        raise ValueError(f"x={config.x} is more than this app can take")
    return float(config.x**2)


if __name__ == "__main__":
    main()
