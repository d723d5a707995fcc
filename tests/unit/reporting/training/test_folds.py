"""What a report says of a run over several folds: how many, each by itself, and no rival by another statistic."""

from dataclasses import replace

import numpy as np
from comparison_records import forecasts, made, with_artifacts
from report_pages import rows_of, said, table_of, texts_of

from tradingbot_exp.reporting.page.metrics import metric_rows
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.report import training_page

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


def test_no_rival_has_a_number_that_is_made_in_another_way_than_the_model_s():
    record = folded()
    rows = rows_of(table_of(training_page(record), "naive rivals"))
    for label, model in (("R² against the train mean", -0.2), ("MAE", 0.1), ("hit rate", 0.5)):
        assert [cell.sort for cell in rows[label][:-1]] == [model, None, None, None, None]
    assert rows["MSE"][3].sort == 1e-4
    plain = with_artifacts(replace(record, run=replace(record.run, params={})), predictions=forecasts())
    assert rows_of(table_of(training_page(plain), "naive rivals"))["MAE"][1].sort > 0


def test_each_fold_has_a_row_with_its_bars_and_one_with_its_metrics():
    page = training_page(folded())
    table = table_of(page, "The bars of each fold")
    assert [row[4:7] for row in texts_of(table)] == [
        [f"{number},000", f"2020-0{number}-01", "2020-09-01 09:30:00"] for number in (1, 2, 3)
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert "on 3 folds (walk_forward)" in said(page, "run")
    table = table_of(page, "Each fold by itself")
    assert [column.name for column in table.columns] == ["fold", "MSE", "Sharpe ratio, net", "best epoch"]
    assert [[cell.sort for cell in row] for row in table.rows] == [[n, n / 10, n / 10, n / 10] for n in (1, 2, 3)]
    assert said(page, "why").startswith("Of the last of 3 folds")
    assert "folds" not in said(training_page(made("plain", forecasts())))


def test_a_trial_without_forecasts_has_its_folds_from_its_configuration_and_its_bars_from_the_card():
    assert Trained(made("a", params=SCHEME)).folds == 3
    assert Trained(made("a", params={**SCHEME, "evaluation.scheme": "chronological"})).folds == 1
    assert Trained(made("a")).folds == 1
    assert "On 6,000 validation bars" in said(training_page(with_artifacts(folded(), predictions=None)), "quality")


def test_metrics_over_folds_compare_only_with_those_over_the_same_folds():
    def comparable(*params):
        rows = metric_rows([made(str(place), forecasts(seed=place), each) for place, each in enumerate(params)])
        return {row.comparable for row in rows}

    assert comparable(SCHEME, {**SCHEME, "evaluation.folds": "5"}) == {(True, False)}
    assert comparable(SCHEME, {}) == {(True, False)}
    assert comparable(SCHEME, SCHEME) == {(True, True)}
    plain = {"evaluation.scheme": "chronological"}
    assert comparable({**plain, "evaluation.folds": "3"}, {**plain, "evaluation.folds": "5"}, {}) == {(True,) * 3}
