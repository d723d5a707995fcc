"""A bowl with its lowest point at the origin, as an objective of Hydra's Optuna sweeper; it may be told to fail."""

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="sphere")
def height(config: DictConfig) -> float:
    if config.refuse_beyond is not None and config.x > config.refuse_beyond:
        raise RuntimeError(f"x={config.x} lies beyond {config.refuse_beyond}")
    return float(config.x**2 + config.y**2)


if __name__ == "__main__":
    height()
