"""What a report says of a run over several folds: how many, each by itself, and no rival by another statistic."""

from dataclasses import replace

import numpy as np
from comparison_records import forecasts, made, with_artifacts

from tradingbot_exp.reporting.page.metrics import metric_rows
from tradingbot_exp.reporting.page.page import Table
from tradingbot_exp.reporting.training.report import training_page
from tradingbot_exp.reporting.training.trained import Trained

SCHEME = {"evaluation.scheme": "walk_forward", "evaluation.folds": "3"}
CARD = {
    "folds": [
        {
            "fold": number,
            "train": {"rows": 100, "start": "2019-01-01T00:00:00", "end": f"2019-0{number}-01T00:00:00"},
            "val": {"rows": 1_000 * number, "start": f"2020-0{number}-01T00:00:00", "end": "2020-09-01T09:30:00"},
        }
        for number in (1, 2, 3)
    ]
}


def folded(params=SCHEME, **card):
    table = forecasts().assign(fold=np.repeat([1, 2, 3], 100))
    record = with_artifacts(made("folded", table, params), card=card or CARD)
    own = {
        f"fold_{n}_{name}": n / 10 for n in (1, 2, 3) for name in ("val_mse", "val_sharpe", "best_epoch", "val_loss")
    }
    logged = {"val_r2": -0.2, "val_mae": 0.1, "val_hit_rate": 0.5, "val_linear_mse": 1e-4, "val_train_mean_mse": 1.1e-4}
    return replace(record, run=replace(record.run, metrics={**record.run.metrics, **logged, **own}))


def tables(record, anchor):
    (section,) = [section for section in training_page(record).sections if section.anchor == anchor]
    return {block.caption: block for block in section.blocks if isinstance(block, Table)}, section


def test_no_rival_has_a_number_that_is_made_in_another_way_than_the_model_s():
    record = folded()
    table = next(table for name, table in tables(record, "quality")[0].items() if "naive rivals" in name)
    rows = {row[0].text: [cell.sort for cell in row[1:-1]] for row in table.rows}
    for label, model in (("R² against the train mean", -0.2), ("MAE", 0.1), ("hit rate", 0.5)):
        assert rows[label] == [model, None, None, None, None]
    assert rows["MSE"][3] == 1e-4
    plain = replace(record, artifacts=replace(record.artifacts, predictions=forecasts()))
    plain = replace(plain, run=replace(plain.run, params={}))
    table = next(table for name, table in tables(plain, "quality")[0].items() if "naive rivals" in name)
    assert {row[0].text: row[2].sort for row in table.rows}["MAE"] > 0


def test_each_fold_has_a_row_with_its_bars_and_one_with_its_metrics():
    bars, section = tables(folded(), "run")
    table = bars["The bars of each fold"]
    assert [[cell.text for cell in row[4:7]] for row in table.rows] == [
        [f"{number},000", f"2020-0{number}-01", "2020-09-01 09:30:00"] for number in (1, 2, 3)
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert any("on 3 folds (walk_forward)" in getattr(block, "text", "") for block in section.blocks)
    table = tables(folded(), "quality")[0]["Each fold by itself, starting without a position"]
    assert [column.name for column in table.columns] == ["fold", "MSE", "Sharpe ratio, net", "best epoch"]
    assert [[cell.sort for cell in row] for row in table.rows] == [[n, n / 10, n / 10, n / 10] for n in (1, 2, 3)]


def test_features_are_said_to_be_those_of_the_last_fold():
    _, section = tables(folded(), "why")
    assert section.blocks[0].text.startswith("Of the last of 3 folds")
    assert "folds" not in tables(made("plain", forecasts()), "why")[1].blocks[0].text


def test_a_trial_without_forecasts_has_its_folds_from_its_configuration():
    assert Trained(made("a", params=SCHEME)).folds == 3
    assert Trained(made("a", params={**SCHEME, "evaluation.scheme": "chronological"})).folds == 1
    assert Trained(made("a")).folds == 1


def test_without_forecasts_the_bars_are_counted_over_the_folds():
    record = with_artifacts(folded(), predictions=None)
    _, section = tables(record, "quality")
    assert any("On 6,000\u00a0validation bars" in getattr(block, "text", "") for block in section.blocks)


def test_metrics_over_folds_compare_only_with_those_over_the_same_folds():
    def comparable(*params):
        rows = metric_rows([made(str(place), forecasts(seed=place), each) for place, each in enumerate(params)])
        return {row.comparable for row in rows}

    assert comparable(SCHEME, {**SCHEME, "evaluation.folds": "5"}) == {(True, False)}
    assert comparable(SCHEME, {}) == {(True, False)}
    assert comparable(SCHEME, SCHEME) == {(True, True)}
    plain = {"evaluation.scheme": "chronological"}
    assert comparable({**plain, "evaluation.folds": "3"}, {**plain, "evaluation.folds": "5"}, {}) == {(True,) * 3}
