"""The names that keys may have: what the checks accept, and what ``--help`` and the reference list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tradingbot_exp.config import choices
from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.metrics import OBJECTIVES
from tradingbot_exp.config.plugins import BUILT_IN_SOURCES, OWN_METRICS, SOURCES


def known_names() -> dict[str, Iterable[str]]:
    """Return the names that each key may have, by key: where they are explained, a mapping to the explanation."""
    return {
        "data.source": (*BUILT_IN_SOURCES, *SOURCES),
        "model.name": choices.model_names(),
        "model.activation": choices.ACTIVATIONS,
        "training.optimizer": choices.OPTIMIZERS,
        "training.loss": {row.name: row.label for row in LOSSES.values()},
        "training.scheduler": choices.SCHEDULERS,
        "training.device": choices.DEVICES,
        "training.precision": choices.PRECISIONS,
        "training.progress": choices.PROGRESS_MODES,
        "evaluation.scheme": choices.SCHEMES,
        "evaluation.window": choices.WINDOWS,
        "hpo.metric": (*OBJECTIVES, *(f"val_{name}" for name in OWN_METRICS)),
        "hpo.direction": choices.DIRECTIONS,
        "hpo.aggregate": choices.AGGREGATES,
        "hpo.sampler": choices.SAMPLERS,
        "hpo.pruner": choices.PRUNERS,
        "hpo.keep": choices.KEEP,
        "tracking.on_error": choices.ON_ERROR,
        "tracking.champion": choices.CHAMPIONS,
    }


def in_words(names: Iterable[str]) -> str:
    """List names as a sentence does, ``a, b (what b is) or c``; explanations are those of a mapping."""
    notes = names if isinstance(names, Mapping) else {}
    *most, last = [f"{name} ({notes[name]})" if notes.get(name) else name for name in names]
    return f"{', '.join(most)} or {last}" if most else last
