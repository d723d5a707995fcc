"""What was searched: the parameters with their values, how the search was set up, the data and the configuration."""

from __future__ import annotations

from tradingbot_exp.reporting.page.configuration import configuration_blocks, data_blocks, shown
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Facts, Table
from tradingbot_exp.reporting.study.axes import space_size
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.reporting.study.trials import param_cell
from tradingbot_exp.runtime.text import listed


def searched_blocks(study: Study) -> list[Block]:
    """Describe the space, the search, the data and the configuration."""
    record = study.record
    blocks: list[Block] = [_space_table(study)] if study.axes else []
    blocks.append(_search_facts(study))
    if record.artifacts.card or study.run.tags.get("data.fingerprint"):
        blocks.append(Details("Data", data_blocks(record.artifacts.card, study.run)))
    return [*blocks, *(configuration_blocks(record, None) if study.run.params else [])]


def _space_table(study: Study) -> Table:
    """List the parameters, what was searched of each, and what the best trial has."""
    winner = study.winner
    rows = []
    for axis in study.axes:
        duplicates = [key for key, of in study.duplicates.items() if of == axis.key]
        name = axis.key + (f" (and {listed(duplicates)}, always the same)" if duplicates else "")
        best = [] if winner is None else [param_cell(axis, winner)]
        rows.append([Cell(name), Cell(axis.described_as()), *best])
    columns = [Column("parameter"), Column("values")]
    if winner is not None:
        columns.append(Column(f"of trial {winner.number}, the best", numeric=True))
    size = space_size(study.axes)
    caption = "What was searched" if any(axis.described for axis in study.axes) else "What the trials differ in"
    return Table(f"{caption}: {size}" if size else caption, columns, rows)


def _search_facts(study: Study) -> Facts:
    """Say how the search was set up, as far as it is on record."""
    params, tags = study.run.params, study.run.tags
    words = [f"{objective.metric}, {objective.direction}" for objective in study.objectives]
    facts = [("Metric", Cell("; ".join(words) + (" (direction not on record)" if study.assumed else "")))]
    named = {
        "Sampler": tags.get("study.sampler") or params.get("hpo.sampler"),
        "Pruner": params.get("hpo.pruner"),
        "Trials": params.get("hpo.num_trials"),
        "Seeds a trial": params.get("hpo.repeats"),
        "At once": tags.get("study.at_once") or params.get("hpo.n_jobs"),
        "Seed": params.get("seed"),
        "Failures allowed": params.get("hpo.max_failure_rate"),
        "Artifacts kept": params.get("hpo.keep"),
        "Study": tags.get("study.name"),
        "Storage": tags.get("study.storage") or params.get("hpo.storage"),
        "Configurations": tags.get("study.configurations"),
        "Sweep": tags.get("sweep.overrides"),
    }
    facts += [(name, Cell(shown(value))) for name, value in named.items() if value not in (None, "", "None")]
    return Facts([*facts, ("Run id", Cell(study.run.run_id))])
