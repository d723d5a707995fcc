"""Commands that follow from a study: train the winner by itself, go on, and do it all again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.config.choices import RANGE_KEYS
from tradingbot_exp.config.overrides import quote
from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.reporting.page.again import again_blocks
from tradingbot_exp.reporting.page.page import Block, Code, Notice
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.runtime.text import split_command, train_command
from tradingbot_exp.tracking.reading.records import StudyRecord, TrialRecord

_DERIVED = "training.learning_rate"  # follows model.learning_rate by itself


def again_section(study: Study) -> list[Block]:
    """Say how to make the study again, or why no command can."""
    record, swept = study.record, study.run.tags.get("sweep.overrides")
    blocks: list[Block] = []
    if _from_arrays(record):
        text = "The study was made of arrays given in Python: no command can make it again."
        blocks.append(Notice(text, "muted"))
    if study.run.kind == "sweep" and swept and not _ours(record):
        blocks.append(Code(swept, "The overrides of the sweep, given to the app with --multirun"))
    return [*blocks, *again_blocks(record, again_command(study))]


def winner_blocks(study: Study) -> list[Block]:
    """Return the command that trains the best trial by itself, or, where no command can, its parameters."""
    winner, record = study.winner, study.record
    if winner is None:
        return []
    words = _winner_overrides(record, winner)
    if words is None and record.winner_overrides is not None and _ours(record):
        words = list(record.winner_overrides)  # of a plain sweep's job
    if words is not None and not _from_arrays(record):
        return [Code(train_command(words), "To train the winner by itself")]
    lines = [f"config.{key} = {value!r}" for key, value in _decoded(record, winner).items()]
    return [Code("\n".join(lines), "The winner's parameters")] if lines else []


def _winner_overrides(record: StudyRecord, winner: TrialRecord) -> list[str] | None:
    """Return the overrides of the study with the winner's values; None where the study's are not known."""
    if record.artifacts.overrides is None or not record.space:
        return None
    own = [word for word in record.artifacts.overrides if not _of_study(word)]
    found = _decoded(record, winner)
    if "model.learning_rate" in found:
        found.pop(_DERIVED, None)
    return [*own, *(f"{key}={quote(value)}" for key, value in found.items())]


def continue_blocks(study: Study) -> list[Block]:
    """Return the command that goes on with the study: to its number of trials or, of one that is over, as many more."""
    words, planned = _study_words(study.record), study.planned
    if words is None or planned is None or study.run.kind != "study" or _from_arrays(study.record):
        return []
    total = planned if study.reached < planned else study.reached + planned
    kept = [word for word in words if _key(word) not in ("hpo.num_trials", "hpo.resume", "hpo.study_name")]
    name = study.run.tags.get("study.name")
    named = [f"hpo.study_name={quote(name)}"] if name else []
    left = "To continue the study" if total == planned else f"To continue the study with {planned:,} more trials"
    command = train_command(["--multirun", *kept, *named, f"hpo.num_trials={total}"])
    return [Code(command, f"{left}, in the folder that it was started in")]


def again_command(study: Study) -> str:
    """Return the command that makes the study from its beginning; empty where it is not known."""
    record, swept = study.record, study.run.tags.get("sweep.overrides")
    if study.run.kind == "sweep":
        known = swept is not None and _ours(record)
        return train_command(["--multirun", "hydra/sweeper=basic", *split_command(swept or "")]) if known else ""
    words = _study_words(record)
    return "" if words is None or _from_arrays(record) else train_command(["--multirun", *words])


def _study_words(record: StudyRecord) -> list[str] | None:
    """Return the study's overrides, with the sweeps that were given beside them: those are not among the recorded."""
    if record.artifacts.overrides is None:
        return None
    given = [
        f"{key}={sweep_of(entry)}" for key, entry in record.space.items() if not _configured(key, record.run.params)
    ]
    return [*record.artifacts.overrides, *given]


def sweep_of(entry: Mapping[str, Any]) -> str:
    """Write an entry of a space as Hydra's sweep grammar has it."""
    if "choices" in entry:
        texts = [quote(choice) for choice in entry["choices"]]
        return ",".join(texts) if len(texts) > 1 else f"choice({texts[0]})"
    low, high, log, step = (entry.get(key) for key in RANGE_KEYS)
    if step is not None and not log and low is not None and high is not None:
        end = high + (step if isinstance(high, int) and isinstance(step, int) else step / 2)
        return f"range({low!r},{end!r},{step!r})"
    return f"tag(log,interval({low!r},{high!r}))" if log else f"interval({low!r},{high!r})"


def _decoded(record: StudyRecord, winner: TrialRecord) -> dict[str, Any]:
    """Return the winner's values by configuration key, as typed as they are known."""
    tags = record.run.tags
    if tags.get("best.trial") == str(winner.number) and "best.params" in tags:
        try:
            found = json.loads(tags["best.params"])
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
    decoded = {}
    for key, value in winner.params.items():
        entry = record.space.get(key)
        choices = entry.get("choices", []) if isinstance(entry, Mapping) else []
        decoded[key] = next((choice for choice in choices if str(choice) == str(value) or choice == value), value)
    return decoded


def _configured(key: str, params: Mapping[str, str]) -> bool:
    """Tell whether a searched key stands in `hpo.param_space`, under its own or its bare name."""
    names = (f"hpo.param_space.{key}", f"hpo.param_space.{key.rpartition('.')[2]}")
    return any(given == name or given.startswith(f"{name}.") for given in params for name in names)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _of_study(word: str) -> bool:
    key = _key(word)
    return key == "hpo" or key.startswith(("hpo.", "hpo/", "hydra", "tracking.register"))


def _ours(record: StudyRecord) -> bool:
    """Tell whether the trials are runs of this package's own app."""
    return any("best_val_loss" in trial.metrics or "val_mse" in trial.metrics for trial in record.trials)


def _from_arrays(record: StudyRecord) -> bool:
    return (record.artifacts.card or {}).get("source") == GIVEN_ARRAYS
