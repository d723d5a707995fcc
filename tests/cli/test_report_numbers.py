"""The numbers of each report's tables are those that MLflow holds: what they sort by, and the text that is read."""

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
    "Calmar ratio, net": "calmar",
    "alpha a year, net": "alpha",
    "beta to buy and hold": "beta",
    "growth a year, net": "cagr",
    "Sharpe ratio, net, at lag 0": "sharpe_lag0",
    "Sharpe ratio, net, at lag 1": "sharpe_lag1",
    "growth a year, net, at lag 0": "cagr_lag0",
    "growth a year, net, at lag 1": "cagr_lag1",
    "maximum drawdown": "max_drawdown",
    "turnover a bar": "turnover",
    "MSE of the zero forecast": "zero_mse",
    "MSE of the train mean": "train_mean_mse",
    "MSE of the linear model": "linear_mse",
    "IC of the linear model": "linear_ic",
    "Sharpe ratio of the linear model": "linear_sharpe",
    "Sharpe ratio of buy and hold": "buy_hold_sharpe",
    "growth a year of buy and hold": "buy_hold_cagr",
}
TRAINING = {
    "final validation loss": "final_loss",
    "best validation loss": "best_val_loss",
    "best epoch": "best_epoch",
    "MSE on the train rows": "train_mse",
    "MAE on the train rows": "train_mae",
    "R² on the train rows": "train_r2",
    "IC on the train rows": "train_ic",
    "rank IC on the train rows": "train_rank_ic",
    "hit rate on the train rows": "train_hit_rate",
    "Sharpe ratio on the train rows, net": "train_sharpe",
}
PERCENT = {"r2", "hit_rate", "max_drawdown", "cagr", "cagr_lag0", "cagr_lag1", "buy_hold_cagr", "alpha"}
"""Metrics that are shown in percent; all others are plain numbers."""
RIVALS = {"MSE": ["zero_mse", "train_mean_mse", "linear_mse"], "IC": [None, None, "linear_ic"]}


@dataclass
class Shown:
    """A cell as it stands in the page."""

    text: str = ""
    sort: str | None = None

    @property
    def number(self) -> float | None:
        return None if self.sort is None else float(self.sort)


def read_back(text: str) -> tuple[float, float, bool]:
    """Read a number as a person does: its value, how far its last digit lets it be from the true one, whether in %."""
    plain = text.replace("\u00a0", " ").replace("−", "-").replace(",", "").strip("★ ()")
    digits, _, power = plain.removesuffix(" %").partition(" × 10")
    scale = 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    scale *= 0.01 if plain.endswith(" %") else 1.0
    last = 10.0 ** -len(digits.partition(".")[2])
    return float(digits) * scale, 0.5001 * last * scale, plain.endswith(" %")


def shows(cell: Shown, value: float | None, *, percent: bool = False) -> bool:
    """Tell whether a cell both sorts by a value and says it, in its unit."""
    if value is None:
        return cell.number is None and cell.text == "–"
    said, within, in_percent = read_back(cell.text)
    return cell.number == value and abs(said - value) <= within and in_percent == percent


@pytest.mark.parametrize(
    ("text", "value", "percent", "right"),
    [
        ("0.25", 0.2571, False, False),
        ("0.25", 0.2499, False, True),
        ("★\u00a0−22.8\u00a0%", -0.2281, True, True),
        ("−22.8\u00a0%", -0.2281, False, False),
        ("(1.664\u00a0×\u00a010⁻⁴)", 1.6637e-4, False, True),
        ("1.664\u00a0×\u00a010⁻³", 1.6637e-4, False, False),
        ("12,345", 12345.4, False, True),
    ],
)
def test_text_is_read_back_as_a_person_reads_it(text: str, value: float, percent: bool, right: bool) -> None:
    assert shows(Shown(text, repr(value)), value, percent=percent) is right


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


@dataclass
class Tiles(HTMLParser):
    """The value and the context of every tile of a page, by label."""

    found: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._parts: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("class")
        if tag == "span" and kind in ("label", "value", "context", "unseen"):
            self._open = kind

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._open = ""
        elif tag == "li" and "label" in self._parts:
            label, value, context = (self._parts[name].strip() for name in ("label", "value", "context"))
            self.found[label] = (value, context)
            self._parts = {}

    def handle_data(self, data: str) -> None:
        if self._open:
            self._parts[self._open] = self._parts.get(self._open, "") + data


def tiles_of(path: Path) -> dict[str, tuple[str, str]]:
    parser = Tiles()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.found


def agrees(text: str, value: float) -> bool:
    """Tell whether a text says a value within its last digit."""
    said, within, _ = read_back(text)
    return abs(said - value) <= within


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
    assert set(rows) == set(default_run.run.data.metrics)
    for name, value in default_run.run.data.metrics.items():
        assert shows(rows[name][0], value), name


def test_the_training_report_s_tiles_say_what_mlflow_holds(reports: dict[str, Path], default_run: Finished) -> None:
    tiles, metrics = tiles_of(reports["training"]), default_run.run.data.metrics
    share, _, way = tiles["Squared error"][0].rpartition(" ")
    gain = 1 - metrics["val_mse"] / metrics["val_zero_mse"]
    assert agrees(share, abs(gain)) and way == ("lower" if gain > 0 else "higher")
    for text, name in zip(tiles["Squared error"][1].split(" against "), ("val_mse", "val_zero_mse"), strict=True):
        assert agrees(text.partition(" for ")[0], metrics[name])
    assert agrees(tiles["IC"][0], metrics["val_ic"])
    value, context = tiles["Net Sharpe ratio a year"]
    assert agrees(value, metrics["val_sharpe"])
    interval, hold = context.split(" · ")
    low, high = (read_back(end)[0] for end in interval.partition(" (")[0].split(" to "))
    assert low < metrics["val_sharpe"] < high
    assert agrees(hold.removeprefix("buy and hold\u00a0"), metrics["val_buy_hold_sharpe"])


def test_the_tiles_of_the_comparison_and_of_the_study_say_what_mlflow_holds(
    reports: dict[str, Path], compared: list[Run]
) -> None:
    lowest = min(compared, key=lambda run: run.data.metrics["val_mse"])
    letter, _, text = tiles_of(reports["comparison"])["Lowest validation MSE"][0].partition(": ")
    assert "ABC"[[run.info.run_id for run in compared].index(lowest.info.run_id)] == letter
    assert agrees(text, lowest.data.metrics["val_mse"])
    best = compared[1]
    tiles = tiles_of(reports["study"])
    assert agrees(tiles["Lowest val_loss"][0], json.loads(best.data.tags["trial.values"])[0])
    assert agrees(tiles["Its net Sharpe ratio"][0], best.data.metrics["val_sharpe"])


def test_the_training_report_compares_the_run_s_own_metrics_with_its_rivals(training, default_run: Finished) -> None:
    rows, metrics = table_of(training, "beside naive rivals"), default_run.run.data.metrics
    assert len(rows) == 14
    for label, cells in rows.items():
        percent = LABELS[label] in PERCENT
        assert shows(cells[0], metrics[f"val_{LABELS[label]}"], percent=percent), label
        for cell, name in zip(cells[1:], RIVALS.get(label, []), strict=False):
            assert shows(cell, metrics[f"val_{name}"] if name else None), label
        for cell in cells:
            assert cell.number is None or shows(cell, cell.number, percent=percent), label
    assert shows(rows["Sharpe ratio, net"][3], metrics["val_linear_sharpe"])
    assert shows(rows["Sharpe ratio, net"][4], metrics["val_buy_hold_sharpe"])


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
        metric = LABELS[name.partition(" (")[0]]
        for cell, run in zip(cells, compared, strict=True):
            assert shows(cell, run.data.metrics.get(f"val_{metric}"), percent=metric in PERCENT), name
    rows = table_of(comparison, "In training")
    assert rows.keys() == TRAINING.keys()
    for name, metric in TRAINING.items():
        percent = metric.removeprefix("train_") in PERCENT
        for cell, run in zip(rows[name], compared, strict=True):
            assert shows(cell, run.data.metrics.get(metric), percent=percent), name


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
        assert shows(row[places["val_loss"]], json.loads(run.data.tags["trial.values"])[0])
        assert shows(row[places["learning_rate"]], float(run.data.params["model.learning_rate"]))
        assert row[places["batch_size"]].number == float(run.data.params["training.batch_size"])
        assert row[places["epochs"]].number == len(study_run.client.get_metric_history(run.info.run_id, "val_loss"))
        assert row[places["run"]].text == run.info.run_id[:8]
        assert row[places["took"]].number == pytest.approx((run.info.end_time - run.info.start_time) / 1000)
