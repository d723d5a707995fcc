"""Features that learn from train bars: from which, what each fold sees, and what is kept with the model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from support import REPOSITORY, in_ci

from tradingbot_exp import load_run, train
from tradingbot_exp.config.schema import DataConfig, EvaluationConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.features import FEATURES, WARMUP, compute_features
from tradingbot_exp.data.fitted import as_bytes, fitted_feature, from_bytes
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError
from tradingbot_exp.evaluation.leakage.gate import check_leaks

SMALL = DataConfig(
    name="synthetic", source="synthetic", synthetic=SyntheticConfig(bars=600), features=["ret_1", "level"]
)
ELSEWHERE = 3.0


class Level:
    """The close over the mean of the train bars, with the dates that were learned from."""

    def fit(self, bars: pd.DataFrame) -> None:
        self.seen = bars.index.asi8.copy()
        self.mean = float(bars["close"].mean())

    def transform(self, bars: pd.DataFrame) -> pd.Series[float]:
        return bars["close"] / self.mean


class Components(Level):
    """The first principal component of two columns: a scikit-learn object is kept."""

    def fit(self, bars: pd.DataFrame) -> None:
        self.pca = PCA(1).fit(bars[["close", "volume"]].to_numpy())

    def transform(self, bars: pd.DataFrame) -> pd.Series[float]:
        return pd.Series(self.pca.transform(bars[["close", "volume"]].to_numpy())[:, 0], bars.index)


class Ahead(Level):
    """One that knows its future."""

    def transform(self, bars: pd.DataFrame) -> pd.Series[float]:
        return bars["close"].shift(-1).ffill() / self.mean


class Cautious(Level):
    """One that refuses prices that it does not know."""

    def fit(self, bars: pd.DataFrame) -> None:
        if bars["close"].pct_change().abs().max() > 0.3:
            raise ValueError("a jump")
        super().fit(bars)


class FromElsewhere(Level):
    """One whose knowledge comes of no bar."""

    def fit(self, bars: pd.DataFrame) -> None:
        self.mean = ELSEWHERE


class Kept:
    """Nothing that is known to be safe to read."""


class KeepsOther(Level):
    """One that keeps an object of a class of its own."""

    def fit(self, bars: pd.DataFrame) -> None:
        self.mean = Kept()


class Raises(Level):
    """One that cannot be fitted."""

    def fit(self, bars: pd.DataFrame) -> None:
        raise ZeroDivisionError("no range")


def test_it_learns_from_the_bars_up_to_the_last_train_row_and_from_no_other() -> None:
    fitted_feature("level")(Level)
    data = prepare_data(SMALL)
    bars = load_bars(SMALL).frame
    last = data.index[data.train.stop - 1]
    assert list(data.fitted["level"].seen) == list(bars.index[bars.index <= last].asi8)  # type: ignore[attr-defined]
    assert np.array_equal(data.raw[:, 1], bars["close"].loc[data.index] / bars["close"].loc[:last].mean())


@pytest.mark.parametrize(
    "scheme", [("walk_forward", "expanding"), ("walk_forward", "rolling"), ("purged_kfold", "expanding")], ids=" ".join
)
def test_each_fold_learns_from_its_own_train_rows(scheme: tuple[str, str]) -> None:
    fitted_feature("level")(Level)
    data = prepare_data(replace(SMALL, sequence_length=3))
    bars = load_bars(SMALL).frame
    for view in fold_views(data, EvaluationConfig(scheme=scheme[0], window=scheme[1], folds=3)):
        rows = replace(view.train, start=view.train.start - 2).numbers  # two more bars in the first window
        expected = np.r_[: 0 if rows[0] else WARMUP, rows + WARMUP]
        assert list(view.fitted["level"].seen) == list(bars.index[expected].asi8)  # type: ignore[attr-defined]
        again = compute_features(bars, ["level"], view.fitted).loc[view.index, "level"]
        assert np.array_equal(view.raw[:, 1], again) and view.train.stop <= data.val.stop
        assert np.array_equal(view.raw[:, 0], data.raw[:, 0])
    assert (
        len({view.fitted["level"].mean for view in fold_views(data, EvaluationConfig(scheme=scheme[0], folds=3))}) == 3
    )  # type: ignore[attr-defined]


def test_the_gate_checks_it_with_what_it_learned_held() -> None:
    fitted_feature("level")(Level)
    assert check_leaks(prepare_data(SMALL)).inputs == "checked"
    FEATURES["level"] = Ahead
    with pytest.raises(DataError, match="the feature level knows its future"):
        check_leaks(prepare_data(SMALL))
    FEATURES["level"] = Cautious
    assert check_leaks(prepare_data(SMALL)).unchecked == ("level",)
    FEATURES["level"] = FromElsewhere
    report = check_leaks(prepare_data(SMALL))
    assert report.inputs == "not checked" and report.unchecked == ("level",)


def test_what_it_learned_is_kept_without_a_pickle_and_read_for_registered_classes_alone() -> None:
    fitted_feature("level")(Components)
    learned = prepare_data(SMALL).fitted
    kept = as_bytes(learned)
    bars = load_bars(SMALL).frame
    assert from_bytes(kept)["level"].transform(bars).equals(learned["level"].transform(bars))
    FEATURES["level"] = Level
    with pytest.raises(ConfigError, match=r"test_data_fitted\.Components, which nothing registers"):
        from_bytes(kept)


def test_what_cannot_be_made_fitted_or_kept_is_refused_by_name() -> None:
    fitted_feature("level")(Raises)
    with pytest.raises(ConfigError, match=r"level \(.*Raises\) cannot be fitted: ZeroDivisionError: no range"):
        prepare_data(SMALL)
    FEATURES["level"] = KeepsOther
    with pytest.raises(ConfigError, match=r"level \(.*KeepsOther\) learned what cannot be kept, of .*Kept"):
        prepare_data(SMALL)

    class Nested(Level):
        pass

    FEATURES["level"] = Nested
    with pytest.raises(ConfigError, match="has to be a class at the top of a module"):
        prepare_data(SMALL)
    with pytest.raises(ConfigError, match=r"expected a class with fit\(bars\) and transform\(bars\)"):
        fitted_feature("other")(len)  # type: ignore[type-var]


@in_ci
def test_a_run_forecasts_and_is_evaluated_with_what_it_learned(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "examples" / "extending" / "my_desk", workdir / "my_desk")
    monkeypatch.chdir(workdir)
    monkeypatch.syspath_prepend(str(workdir))
    bars = load_bars(DataConfig()).frame.reset_index()
    for scheme in ("chronological", "walk_forward"):
        words = ["plugins=[my_desk.features]", "data.features=[ret_1,range_rank]", f"evaluation.scheme={scheme}"]
        run = train([*words, "training.epochs=2", "training.progress=off", "tracking.report=false"])
        late = run.predict(bars.iloc[-400:]).set_index("date")["forecast"]
        assert len(late) == 400 - WARMUP  # without the train bars
        opened = load_run(run.run_id).evaluate()
        file = run._store.client.download_artifacts(opened.evaluation_run_id, "evaluation/test_returns.csv")
        own = pd.read_csv(file, index_col="date", parse_dates=True)["forecast"]
        shared = late.index.intersection(own.index)
        assert len(shared) > 300 and np.allclose(late[shared], own[shared], rtol=0, atol=1e-9)
