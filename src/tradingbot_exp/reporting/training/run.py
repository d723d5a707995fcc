"""What was run: how it ended, its model and code, data, folds and configuration."""

from __future__ import annotations

from tradingbot_exp.reporting.page.again import code_cell
from tradingbot_exp.reporting.page.blocks import problem_notices, run_link
from tradingbot_exp.reporting.page.configuration import configuration_blocks, data_blocks
from tradingbot_exp.reporting.page.ending import ending_blocks
from tradingbot_exp.reporting.page.page import Block, Cell, Facts, Notice, Paragraph
from tradingbot_exp.reporting.tear_sheet.trained import Trained


def run_blocks(trained: Trained) -> list[Block]:
    """Say what a run is and how it ended, and describe its data and configuration."""
    record, run = trained.record, trained.run
    blocks: list[Block] = [*ending_blocks(run, record.artifacts.traceback), *problem_notices(record.artifacts)]
    if not run.kind:
        text = "Something else than tradingbot_exp logged this run: the report shows what is there."
        blocks.append(Notice(text, "muted"))
    if note := run.tags.get("mlflow.note.content"):
        blocks.append(Paragraph(note))
    name, version = run.tags.get("model.name", "not recorded"), run.tags.get("model.version")
    model = f"{name}, version {version}" if version else name
    networks = run.params.get("training.ensemble", "1")
    if networks != "1":
        model += f"; the mean of {networks} networks of it, with seeds of their own"
    facts = [("Model", Cell(model)), ("Code", code_cell(record)), ("Run id", Cell(run.run_id))]
    if run.parent_id:
        facts.append(("Study", Cell(run.parent_id, href=run_link(run, run.parent_id))))
    ours = ("engine", "error", "periods_per_year")
    user = [f"{key}: {value}" for key, value in run.tags.items() if "." not in key and key not in ours]
    if user:
        facts.append(("Tags", Cell(", ".join(user))))
    return [*blocks, Facts(facts), *data_blocks(record.artifacts.card, run)]


def settings_blocks(trained: Trained) -> list[Block]:
    """Show the configuration of a run, and what is new in it."""
    return configuration_blocks(trained.record, trained.record.previous)
