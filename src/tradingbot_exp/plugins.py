"""What a package of your own may add: data sources, losses, metrics, position rules, samplers, and hooks of epochs.

Models are registered by `tradingbot_exp.models.register`, features by `tradingbot_exp.data.features.feature`.
"""

from tradingbot_exp.config.modules import load_plugins, plugins_sha256
from tradingbot_exp.config.plugins import ask_hooks, loss, metric, on_epoch, own_metrics, position, sampler, source
from tradingbot_exp.config.registries import EPOCH_HOOKS, SOURCES
from tradingbot_exp.config.registries import USER_METRICS as OWN_METRICS

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
    "position",
    "sampler",
    "source",
]
