"""One run with Lightning and its MLFlowLogger."""

import logging
import warnings

import lightning
import torch
from common import BATCH, load, make_model, task
from lightning.pytorch.loggers import MLFlowLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Forecaster(lightning.LightningModule):
    """The default network, its losses logged once an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()
        self.criterion = nn.MSELoss()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Give a batch's loss."""
        X, y = batch
        loss: torch.Tensor = self.criterion(self.model(X), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Log the validation loss."""
        X, y = batch
        self.log("val_loss", self.criterion(self.model(X), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use the default learning rate."""
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


wanted = task()
torch.set_num_threads(1)
lightning.seed_everything(wanted.seed, verbose=False)
X, y, X_val, y_val = load(wanted.data)
logger = MLFlowLogger("bench", tracking_uri=wanted.store)
logger.log_hyperparams(wanted.params)
trainer = lightning.Trainer(
    max_epochs=wanted.epochs,
    accelerator="cpu",
    logger=logger,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    log_every_n_steps=1000,
    num_sanity_val_steps=0,
)
trainer.fit(
    Forecaster(),
    DataLoader(TensorDataset(X, y), batch_size=BATCH, shuffle=True),
    DataLoader(TensorDataset(X_val, y_val), batch_size=len(X_val)),
)
print(float(trainer.callback_metrics["val_loss"]))
