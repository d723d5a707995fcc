"""A hook that stops a run, and a callback of Hydra that notes each job's end."""

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tradingbot_exp.config.schema import Config
from tradingbot_exp.plugins import on_epoch


@on_epoch
def stop_when_overfitted(epoch: int, losses: dict[str, float], config: Config) -> bool:
    """Stop once the train loss is less than half of the validation loss, from the tenth epoch on."""
    return epoch >= 10 and losses["train_loss"] < 0.5 * losses["val_loss"]


class Logbook(Callback):
    """Writes a line for each job into a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """After each job, on the machine that ran it."""
        with Path(self.path).open("a") as book:
            book.write(f"{config.model.name} {job_return.status.name}\n")
