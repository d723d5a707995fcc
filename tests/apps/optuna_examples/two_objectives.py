"""Two distances that cannot both be small: from the origin and from (5, 5)."""

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="two_objectives")
def distances(config: DictConfig) -> tuple[float, float]:
    if config.refuse_beyond is not None and config.x > config.refuse_beyond:
        raise RuntimeError(f"x={config.x} lies beyond {config.refuse_beyond}")
    return config.x**2 + config.y**2, (config.x - 5) ** 2 + (config.y - 5) ** 2


if __name__ == "__main__":
    distances()
