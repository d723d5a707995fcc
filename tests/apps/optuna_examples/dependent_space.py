"""A search space in code: the range of ``near_x`` depends on the value that ``x`` was given."""

import hydra
from omegaconf import DictConfig
from optuna.trial import Trial


@hydra.main(config_path="conf", config_name="dependent_space")
def height(config: DictConfig) -> float:
    if config.refuse_beyond is not None and config.x > config.refuse_beyond:
        raise RuntimeError(f"x={config.x} lies beyond {config.refuse_beyond}")
    return float(config.x**2 + config.near_x**2 + config.extra**2)


def extend(config: DictConfig, trial: Trial) -> None:
    x = trial.params["x"]
    trial.suggest_float("near_x", x - config.reach, x + config.reach)
    trial.suggest_float("extra", 0.0, 1.0)


if __name__ == "__main__":
    height()
