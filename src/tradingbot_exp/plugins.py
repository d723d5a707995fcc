"""What a package of your own may add: data sources, losses, metrics, and hooks after each epoch.

Models are registered by `tradingbot_exp.models.register`, features by `tradingbot_exp.data.features.feature`.
"""

from tradingbot_exp.config.plugins import (
    ask_hooks,
    load_plugins,
    loss,
    metric,
    on_epoch,
    own_metrics,
    plugins_sha256,
    source,
)
from tradingbot_exp.config.registries import EPOCH_HOOKS, OWN_METRICS, SOURCES

__all__ = [
    "EPOCH_HOOKS",
    "OWN_METRICS",
    "SOURCES",
    "ask_hooks",
    "load_plugins",
    "loss",
    "metric",
    "on_epoch",
    "own_metrics",
    "plugins_sha256",
    "source",
]
