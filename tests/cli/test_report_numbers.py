"""The numbers of each report's tables are those that MLflow holds, to the last digit."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from support import Finished, artifact_folder

LABELS = {
    "MSE": "mse",
    "MAE": "mae",
    "R² against the train mean": "r2",
    "IC": "ic",
    "rank IC": "rank_ic",
    "hit rate": "hit_rate",
    "Sharpe ratio, net": "sharpe",
    "Sortino ratio, net": "sortino",
    "maximum drawdown": "max_drawdown",
    "turnover a bar": "turnover",
    "MSE of the zero forecast": "zero_mse",
    "MSE of the train mean": "train_mean_mse",
    "MSE of the linear model": "linear_mse",
    "IC of the linear model": "linear_ic",
    "Sharpe ratio of the linear model": "linear_sharpe",
    "Sharpe ratio of buy and hold": "buy_hold_sharpe",
}
RIVALS = {"MSE": ["zero_mse", "train_mean_mse", "linear_mse"], "IC": [None, None, "linear_ic"]}


@dataclass
class Shown:
    """A cell as it stands in the page."""

    text: str = ""
    sort: str | None = None

    @property
    def number(self) -> float | None:
        return None if self.sort is None else float(self.sort)


@dataclass
class Tables(HTMLParser):
    """Every table of a page, by caption: its rows of cells, the head first."""

    found: dict[str, list[list[Shown]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._rows: list[list[Shown]] = []
        self._caption: str | None = None
        self._open: Shown | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "caption":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._open = Shown(sort=dict(attrs).get("data-sort"))
            self._rows[-1].append(self._open)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = None
        elif tag == "caption" and self._caption is not None:
            self.found[self._caption] = self._rows
            self._caption = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.text += data
        elif self._caption is not None:
            self._caption += data


def tables_of(path: Path) -> dict[str, list[list[Shown]]]:
    parser = Tables()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.found


def table_of(tables: dict[str, list[list[Shown]]], words: str) -> dict[str, list[Shown]]:
    """Give the cells of a table's rows, by the row's name."""
    (caption,) = (caption for caption in tables if words in caption)
    return {row[0].text: row[1:] for row in tables[caption][1:]}


def as_shown(value: str) -> str:
    if value in ("None", ""):
        return "not set"
    if value.startswith("["):
        return ", ".join(map(str, ast.literal_eval(value))) or "none"
    return value


@pytest.fixture(scope="module")
def training(reports: dict[str, Path]) -> dict[str, list[list[Shown]]]:
    return tables_of(reports["training"])


@pytest.fixture(scope="module")
def comparison(reports: dict[str, Path]) -> dict[str, list[list[Shown]]]:
    return tables_of(reports["comparison"])


def test_the_training_report_lists_every_metric_of_the_run(training, default_run: Finished) -> None:
    rows = table_of(training, "as MLflow has them")
    assert {name: cells[0].number for name, cells in rows.items()} == default_run.run.data.metrics


def test_the_training_report_compares_the_run_s_own_metrics_with_its_rivals(training, default_run: Finished) -> None:
    rows, metrics = table_of(training, "beside naive rivals"), default_run.run.data.metrics
    assert len(rows) == 10
    for label, cells in rows.items():
        assert cells[0].number == metrics[f"val_{LABELS[label]}"], label
        for cell, name in zip(cells[1:], RIVALS.get(label, []), strict=False):
            assert cell.number == (metrics[f"val_{name}"] if name else None), label
    assert rows["Sharpe ratio, net"][3].number == metrics["val_linear_sharpe"]
    assert rows["Sharpe ratio, net"][4].number == metrics["val_buy_hold_sharpe"]


def test_the_training_report_shows_every_param_of_the_run(training, default_run: Finished) -> None:
    params = default_run.run.data.params
    blocks = {key.partition(".")[0] if "." in key else "general" for key in params}
    found = {}
    for block in blocks:
        for key, (cell,) in table_of({block: training[block]}, block).items():
            found[key if block == "general" else f"{block}.{key}"] = cell.text
    assert found == {key: as_shown(value) for key, value in params.items()}


def test_the_training_report_splits_the_data_as_its_card_says(training, default_run: Finished) -> None:
    card = json.loads((default_run.artifacts() / "data" / "data_card.json").read_text())
    rows = table_of(training, "How the data are split")
    for name, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert rows[name][0].number == card["split"][part]["rows"]
        assert [cell.text for cell in rows[name][1:]] == [card["split"][part][end][:10] for end in ("start", "end")]


def test_the_comparison_shows_the_metrics_of_each_run(comparison, compared: list[Run]) -> None:
    rows = table_of(comparison, "On the validation bars")
    assert len(rows) == len(LABELS)
    for name, cells in rows.items():
        metric = f"val_{LABELS[name.partition(' (')[0]]}"
        assert [cell.number for cell in cells] == [run.data.metrics.get(metric) for run in compared], name
    rows = table_of(comparison, "In training")
    for name, metric in (
        ("final validation loss", "final_loss"),
        ("best validation loss", "best_val_loss"),
        ("best epoch", "best_epoch"),
    ):
        assert [cell.number for cell in rows[name]] == [run.data.metrics.get(metric) for run in compared], name


def test_the_comparison_shows_what_differs_as_it_is_in_the_params(comparison, compared: list[Run]) -> None:
    rows = table_of(comparison, "Configuration: keys")
    assert {"training.epochs", "model.learning_rate"} <= set(rows)
    for key, cells in rows.items():
        assert [cell.text for cell in cells] == [as_shown(run.data.params[key]) for run in compared], key


def test_the_comparison_lists_the_runs_with_their_times(comparison, compared: list[Run]) -> None:
    rows = list(table_of(comparison, "The compared runs").values())
    for cells, run in zip(rows, compared, strict=True):
        assert cells[0].text == run.info.run_name
        assert cells[5].number == run.info.start_time / 1000
        assert cells[6].number == pytest.approx((run.info.end_time - run.info.start_time) / 1000)


def test_the_differences_are_those_of_the_logged_returns(comparison, compared: list[Run]) -> None:
    (caption,) = (caption for caption in comparison if "with their uncertainty" in caption)
    first, second = (
        pd.read_csv(artifact_folder(run) / "evaluation" / "validation_returns.csv") for run in compared[:2]
    )
    returns = [table["strategy_return"].to_numpy() for table in (first, second)]
    errors = [((table["actual"] - table["forecast"]) ** 2).mean() for table in (first, second)]
    ratios = [each.mean() / each.std(ddof=1) * math.sqrt(252) for each in returns]
    wanted = {
        "mean net return a bar": np.diff([each.mean() for each in returns])[0],
        "net Sharpe ratio": np.diff(ratios)[0],
        "mean squared error": np.diff(errors)[0],
    }
    rows = {row[1].text: row for row in comparison[caption] if row[0].text == "B"}
    assert set(rows) == set(wanted)
    for name, row in rows.items():
        assert row[2].number == pytest.approx(wanted[name], rel=1e-6), name
        assert row[6].number == len(first)


def test_the_study_report_lists_the_value_and_parameters_of_each_trial(
    reports: dict[str, Path], study_run: Finished
) -> None:
    tables = tables_of(reports["study"])
    (caption,) = (caption for caption in tables if caption.startswith("All 5"))
    head, *rows = tables[caption]
    places = {cell.text.split()[0]: place for place, cell in enumerate(head)}
    trials = {int(run.data.tags.get("trial.number", -1)): run for run in study_run.runs()}
    for row in rows:
        run = trials[int(row[0].number)]
        assert [row[places["val_loss"]].number] == json.loads(run.data.tags["trial.values"])
        assert row[places["learning_rate"]].number == float(run.data.params["model.learning_rate"])
        assert row[places["batch_size"]].number == float(run.data.params["training.batch_size"])
        assert row[places["epochs"]].number == len(study_run.client.get_metric_history(run.info.run_id, "val_loss"))
        assert row[places["run"]].text == run.info.run_id[:8]
        assert row[places["took"]].number == pytest.approx((run.info.end_time - run.info.start_time) / 1000)
