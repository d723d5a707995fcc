"""The ledger counts each configuration that was ever tried on an instrument's validation dates once, in real stores."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support import artifact_folder, in_ci, make_run

from tradingbot_exp.api.notebook import train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import instrument, is_file, is_same_market, market_returns, overlap, stamp
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_bars, synthetic_panel
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.recording import identifying_tags
from tradingbot_exp.hpo.verdict.expectations import bearing_line, ledger_of
from tradingbot_exp.tracking.reading.ledger import pair_tags, read_ledger
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.reading.openings import overlapping_openings
from tradingbot_exp.tracking.store.store import Store

DATES = ("2009-04-22T00:00:00", "2011-03-22T00:00:00")
EARLIER = ("2005-01-03T00:00:00", "2009-04-21T00:00:00")


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")


def add(client: MlflowClient, kind: str, tried: str | None, experiment: str = "0", **tags: str) -> str:
    """Make a run as a job of this package tags it; double underscores stand for dots."""
    market = {"data.instrument": "IBM", "data.val_start": DATES[0], "data.val_end": DATES[1]}
    return make_run(client, experiment, kind, "RUNNING", tags=market, config__tried=tried or "", **tags)


def test_single_runs_and_all_trials_count_once_for_each_configuration(client: MlflowClient) -> None:
    other = client.create_experiment("other")
    gone = client.create_experiment("gone")
    first, second = add(client, "study", "base"), add(client, "study", "base", other)
    null, mine = add(client, "null_study", "base"), add(client, "study", "base")
    for number, tried in enumerate(("a", "b", "c")):
        add(client, "trial", tried, mlflow__parentRunId=first, trial__number=str(number))
    add(client, "trial", "pruned", mlflow__parentRunId=first, trial__state="pruned")
    client.set_terminated(add(client, "trial", "failed", mlflow__parentRunId=first), "FAILED")
    add(client, "trial", "a", other, mlflow__parentRunId=second)  # the same point again
    add(client, "trial", "d", other, mlflow__parentRunId=second)
    add(client, "training", "a")  # the same with another seed, or made again
    add(client, "training", "e")
    client.delete_run(add(client, "training", "deleted"))
    add(client, "training", "of a deleted experiment", gone)
    client.delete_experiment(gone)
    # What does not count.
    add(client, "trial", "null", mlflow__parentRunId=null)
    add(client, "test_evaluation", "judged")
    add(client, "training", None)
    add(client, "training", "msft", data__instrument="MSFT")
    add(client, "training", "years before", data__val_start=EARLIER[0], data__val_end=EARLIER[1])
    # The study that asks.
    add(client, "trial", "e", mlflow__parentRunId=mine)
    add(client, "trial", "own", mlflow__parentRunId=mine)
    store = Store(client, "sqlite:///here")
    ledger = read_ledger(store, MarketDates("IBM", DATES), mine)
    counted = {"a", "b", "c", "d", "e", "pruned", "failed", "deleted", "of a deleted experiment"}
    assert ledger.before == counted
    assert ledger.own == {"e", "own"} and ledger.total == len(counted) + 1
    assert str(ledger) == (
        "9 other configurations of IBM were tried on overlapping validation dates (2009-04-22 to 2011-03-22), as far "
        "as the store sqlite:///here knows"
    )
    everything = read_ledger(store, MarketDates("IBM", (EARLIER[0], DATES[1])))
    assert everything.before == counted | {"own", "years before"}
    assert read_ledger(store, MarketDates("AAPL", DATES)).total == 0


def test_pairs_of_a_backtest_count_where_returns_are_judged_and_nowhere_else(client: MlflowClient) -> None:
    study, null = add(client, "study", "base"), add(client, "null_study", "base")
    add(client, "trial", "own", mlflow__parentRunId=study)
    add(client, "training", "a")
    tried = [f"{number:064x}" for number in range(120)]
    several = {name.replace(".", "__"): text for name, text in pair_tags(["a", *tried]).items()}
    assert len(several) == 3 and max(map(len, several.values())) < 4000
    add(client, "backtest", None, **several)
    client.delete_run(add(client, "backtest", None, backtest__tried__1="a of-deleted"))
    add(client, "backtest", None, backtest__tried__1="own own-pair", evaluated__study_id=study)
    add(client, "backtest", None, backtest__tried__1="null", evaluated__study_id=null)
    add(client, "backtest", None, backtest__tried__1="msft", data__instrument="MSFT")
    add(client, "backtest", None, backtest__tried__1="before", data__val_start=EARLIER[0], data__val_end=EARLIER[1])
    store, asked = Store(client, "here"), MarketDates("IBM", DATES)
    forecasts = read_ledger(store, asked, study)
    assert (forecasts.before, forecasts.own) == ({"a"}, {"own"})
    returns = read_ledger(store, asked, study, with_backtests=True)
    assert (returns.before, returns.own) == ({"a", "of-deleted", *tried}, {"own", "own-pair"})


@pytest.mark.parametrize(("metric", "counted"), [("val_sharpe", 3), ("val_loss", 1), ("val_ic", 1)])
def test_a_study_that_searches_for_returns_is_told_of_backtests(
    client: MlflowClient, metric: str, counted: int
) -> None:
    add(client, "training", "a")
    add(client, "backtest", None, backtest__tried__1="a b c")
    config = compose_config([f"hpo.metric={metric}", "hpo.direction=maximize"])
    assert ledger_of(config, Store(client, "here"), "a study").total == counted


def test_a_backtest_of_a_trial_with_other_features_is_of_the_market_of_its_study(client: MlflowClient) -> None:
    named = {"data__instrument": "file copy.csv", "data__train_start": EARLIER[0]}
    study = add(client, "study", "base", data__fingerprint="same", **named)
    other = {"data__fingerprint": "of other features", "evaluated__study_id": study}
    add(client, "backtest", None, backtest__tried__1="pair", **other, **named)
    asked = MarketDates("IBM", DATES, "same", pd.Series(dtype="float64", index=pd.DatetimeIndex([])))
    assert read_ledger(Store(client, "here"), asked, with_backtests=True).before == {"pair"}


def test_the_same_bars_under_another_name_are_known_by_their_fingerprint(client: MlflowClient) -> None:
    study = add(client, "study", "base", data__fingerprint="same")
    add(client, "trial", "own", data__fingerprint="same", mlflow__parentRunId=study)
    add(client, "training", "by its name", data__fingerprint="other")
    add(client, "training", "by its bars", data__fingerprint="same", data__instrument="file copy.csv")
    add(client, "training", "of another", data__fingerprint="other", data__instrument="file other.csv")
    ledger = read_ledger(Store(client, "here"), MarketDates("IBM", DATES, "same"), study)
    assert ledger.before == {"by its name", "by its bars"} and ledger.own == {"own"}


def test_a_study_of_the_market_under_another_name_has_each_of_its_trials_once(client: MlflowClient) -> None:
    named = {"data__instrument": "file copy.csv", "data__train_start": EARLIER[0]}
    study = add(client, "study", "base", data__fingerprint="same", **named)
    for number in range(3):
        add(client, "trial", f"t{number}", data__fingerprint="same", mlflow__parentRunId=study, **named)
    add(client, "trial", "features of its own", data__fingerprint="other", mlflow__parentRunId=study, **named)
    nothing = pd.Series(dtype="float64", index=pd.DatetimeIndex([]))
    asked = MarketDates("IBM", DATES, "same", nothing)
    (look,) = looks_at(Store(client, "here"), asked)
    assert (look.run_id, look.trials) == (study, 4)
    assert read_ledger(Store(client, "here"), asked).total == 4


def test_a_store_with_more_runs_than_a_page_is_read_to_its_end(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradingbot_exp.tracking.store.store._PAGE", 3)
    for number in range(8):
        add(client, "training", f"c{number}")
    assert read_ledger(Store(client, "sqlite:///here"), MarketDates("IBM", DATES)).total == 8


def test_a_store_that_cannot_be_read_is_named(workdir: Path, client: MlflowClient) -> None:
    add(client, "training", "a")
    with sqlite3.connect(workdir / "mlflow.db") as database:
        database.execute("ALTER TABLE runs RENAME TO gone")
    database.close()
    with pytest.raises(TrackingError, match="The runs in sqlite:///here cannot be read"):
        read_ledger(Store(client, "sqlite:///here"), MarketDates("IBM", DATES))


def test_openings_of_the_instrument_or_of_the_same_bars_are_found_where_dates_overlap(client: MlflowClient) -> None:
    def opening(name: str, fingerprint: str, start: str, end: str) -> str:
        return add(
            client,
            "test_evaluation",
            None,
            data__instrument=name,
            data__fingerprint=fingerprint,
            opened__start=start,
            opened__end=end,
            opened__at="2026-01-01T00:00:00",
        )

    same, twin = opening("IBM", "f1", *DATES), opening("file mine.csv", "f0", *DATES)
    opening("MSFT", "f2", *DATES)
    opening("IBM", "f1", *EARLIER)
    client.delete_run(same)
    found = overlapping_openings(Store(client, "sqlite:///here"), MarketDates("IBM", DATES, "f0"))
    assert [each.run_id for each in found] == [same, twin]


def test_a_try_is_a_configuration_wherever_its_bars_come_from(tmp_path: Path) -> None:
    def tags(*overrides: str) -> dict[str, str | None]:
        config = compose_config(["data=synthetic", *overrides])
        return identifying_tags(config, load_data(config))

    first = tags()
    for other in ("seed=7", "training.learning_rate=0.002", "evaluation.cost_bps=1"):
        assert first["config.tried"] != tags(other)["config.tried"]
    load_bars(DataConfig(name="synthetic", source="synthetic")).frame.to_csv(tmp_path / "copy.csv")
    copied = tags("data=csv", f"data.path={tmp_path / 'copy.csv'}")
    assert first["config.tried"] == copied["config.tried"]
    several = "data.synthetic.bars=200", "data.synthetic.symbols=3"
    panels = [tags(*several), tags(*several[:1], "data.synthetic.symbols=4")]
    frames = synthetic_panel(SyntheticConfig(bars=200, symbols=3))
    (tmp_path / "bars").mkdir()
    for symbol, frame in frames.items():
        frame.to_csv(tmp_path / "bars" / f"{symbol}.csv")
    files = tags("data=csv", f"data.path={tmp_path / 'bars'}")
    assert len({each["config.tried"] for each in (first, *panels)}) == 3
    assert panels[0]["config.tried"] == files["config.tried"]
    assert first["config.sha256"] != copied["config.sha256"]
    assert (first["data.instrument"], first["data.val_start"]) == (
        "SYNTHETIC signal=0.3 seed=0",
        "2005-05-27T00:00:00",
    )


def test_the_dates_of_folds_are_those_of_all_of_them() -> None:
    def tags(*overrides: str) -> list[str | None]:
        config = compose_config(["data=synthetic", *overrides])
        data = fold_views(load_data(config), config.evaluation)[-1]
        found = identifying_tags(config, data)
        return [found[f"data.{name}"] for name in ("train_start", "val_start", "val_end")]

    plain = tags()
    assert tags("evaluation.scheme=walk_forward", "evaluation.window=rolling") == plain
    assert tags("evaluation.scheme=purged_kfold") == [plain[0], plain[0], plain[2]]


def test_the_instrument_is_what_is_traded_whatever_file_or_length_it_comes_in(tmp_path: Path) -> None:
    def named(**keys: object) -> str:
        config = DataConfig(**keys)  # type: ignore[arg-type]
        return instrument(config, prepare_data(config))

    assert named() == named(split=DataConfig().split, horizon=5) == "IBM"
    longer = {"name": "synthetic", "source": "synthetic"}
    assert named(**longer, synthetic=SyntheticConfig(bars=300)) == named(**longer, synthetic=SyntheticConfig(bars=400))
    assert named(**longer) != named(**longer, synthetic=SyntheticConfig(seed=1))
    bars = synthetic_bars(SyntheticConfig(bars=200))
    bars.to_csv(tmp_path / "it's mine.csv")
    file = {"source": "csv", "path": str(tmp_path / "it's mine.csv")}
    assert named(name="csv", **file) == "file it_s mine.csv"
    assert named(name="acme", **file) == "ACME"
    bars.assign(symbol="acme").to_csv(tmp_path / "it's mine.csv")
    assert named(name="csv", **file) == "ACME"
    (tmp_path / "bars").mkdir()
    for symbol in ("c", "a", "b", "d", "e", "f"):
        bars.to_csv(tmp_path / "bars" / f"{symbol}.csv")
    panel = {"source": "csv", "path": str(tmp_path / "bars")}
    assert named(**panel, symbols=["c", "a"]) == "A+C"
    # Other panels may be called so, and returns tell them apart.
    assert is_file(several := named(**panel)) and several == "panel of 6 symbols a to f" and not is_file("A+C")


def test_dates_compare_as_text_in_utc() -> None:
    assert stamp(pd.Timestamp("2020-01-01 23:30", tz="America/New_York")) == "2020-01-02T04:30:00"
    assert overlap(("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ("2020-01-02T00:00:00", "2020-02-01T00:00:00"))
    assert not overlap(EARLIER, DATES) and not overlap(DATES, EARLIER)


def test_before_a_study_one_line_says_what_the_data_can_bear(tmp_path: Path) -> None:
    config = compose_config(["hpo.num_trials=100"])
    assert bearing_line(config, load_data(config), 212) == (
        "484 validation bars; with 100 trials planned and 212 tried before, the best of pure noise is expected to show "
        "an information coefficient of 0.13; about 0.17 would be needed (one of 0.09 would take some 1,800 bars)"
    )
    searched = compose_config(["hpo.num_trials=100", "hpo.metric=val_sharpe", "hpo.direction=maximize"])
    assert "an alpha with a Sharpe ratio of 2.1; about 2.7 would be" in bearing_line(searched, load_data(searched), 212)
    frame = synthetic_bars(SyntheticConfig(bars=500)).assign(y=lambda bars: bars["close"].pct_change().fillna(0.0))
    frame.to_csv(tmp_path / "t.csv")
    keys = ["data=table", f"data.path={tmp_path / 't.csv'}", "data.features=[volume]", "data.target=y"]
    config = compose_config([*keys, "hpo.num_trials=20", "hpo.metric=val_ic", "hpo.direction=maximize"])
    line = bearing_line(config, load_data(config), 0)
    assert line.startswith("74 validation bars; with 20 trials planned, the best of pure noise is expected to show")
    assert "an information coefficient of 0.22; about 0.35 would be needed" in line


QUICK = [
    *("model=linear", "training.epochs=1", "training.progress=off", "tracking.report=false"),
    *("data.split.train_end=2007-12-31", "data.split.val_end=2009-12-31"),
]


def total(data: PreparedData, dates: tuple[str, str]) -> int:
    """How many configurations the store of this directory knows of a market."""
    uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"  # MLflow keeps what it opened by its text
    asked = MarketDates("nothing", dates, data.fingerprint, market_returns(data))
    return read_ledger(Store(MlflowClient(uri), uri), asked).total


@in_ci
def test_a_copy_a_bar_more_a_later_start_and_rounded_prices_are_one_market_and_one_try(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    bars = load_bars(DataConfig()).frame
    prices = [name for name in bars if name != "volume"]
    files = {
        "copy.csv": bars.iloc[:-1],
        "renamed.csv": bars.iloc[:-1],
        "longer.csv": bars,
        "later.csv": bars.iloc[300:-1],
        "rounded.csv": bars.iloc[:-1].assign(**{name: bars[name].round(2) for name in prices}),
        "evening.csv": bars.iloc[:-1].set_axis(pd.DatetimeIndex(bars.index[:-1]) + pd.Timedelta(hours=16)),
        "other.csv": load_bars(DataConfig(name="msft")).frame,
    }
    runs = {}
    for name, frame in files.items():
        frame.rename_axis("date").to_csv(name)
        runs[name] = train([*QUICK, "data=csv", f"data.path={name}"])
    fingerprints = {name: run.tags["data.fingerprint"] for name, run in runs.items()}
    assert fingerprints["copy.csv"] == fingerprints["renamed.csv"] and len(set(fingerprints.values())) == 6
    config = compose_config(["data=ibm"])
    data = load_data(config)
    dates = (runs["copy.csv"].tags["data.val_start"], runs["copy.csv"].tags["data.val_end"])
    assert total(data, dates) == 1  # one configuration on one market, in six files
    train([*QUICK, "data=csv", "data.path=longer.csv", "training.weight_decay=0.1"])
    train([*QUICK, "data=csv", "data.path=rounded.csv", "seed=3"])
    assert total(data, dates) == 3
    assert total(load_data(compose_config(["data=msft"])), dates) == 1
    # One whose returns are damaged is known by its name alone, which here is another.
    store = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    damaged = artifact_folder(store.get_run(runs["later.csv"].run_id)) / "data" / "market_returns.parquet"
    damaged.write_bytes(b"PAR1")
    assert total(data, dates) == 3


@in_ci
def test_a_panel_is_of_the_market_of_each_of_its_symbols(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    quick = [*QUICK, "data.features=[ret_1,clv]"]
    panel, single = train([*quick, "data=tech"]), train([*quick, "data=ibm"])
    train([*quick, "data=tech"])
    train([*quick, "data=synthetic", "data.synthetic.bars=3000"])
    dates = panel.tags["data.val_start"], panel.tags["data.val_end"]
    assert single.tags["data.val_start"] == dates[0]
    loaded = {name: load_data(compose_config([f"data={name}"])) for name in ("tech", "ibm", "msft")}
    # The same configuration on IBM alone is another try than on four symbols.
    assert {name: total(each, dates) for name, each in loaded.items()} == {"tech": 2, "ibm": 2, "msft": 1}
    assert total(load_data(compose_config(["data=synthetic", "data.synthetic.bars=3000"])), dates) == 1
    elsewhere = ("2010-06-01T00:00:00", "2012-06-01T00:00:00")
    assert total(loaded["ibm"], elsewhere) == 0
    assert panel.evaluate().number == 1
    asked = MarketDates("IBM", (dates[1], stamp(loaded["ibm"].index[-1])), "else", market_returns(loaded["ibm"]))
    store = Store(MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}"), "here")
    assert [each.evaluated for each in overlapping_openings(store, asked)] == [panel.run_id]
    assert single.evaluate().number == 2


def test_two_series_are_of_one_market_by_sixty_shared_dates_that_hardly_differ() -> None:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=300)
    market = pd.Series(0.01 * rng.standard_normal(300), dates)
    assert is_same_market(market, market.iloc[240:]) and is_same_market(market, market.iloc[241:]) is None
    assert is_same_market(market, market + 0.0005 * rng.standard_normal(300))
    assert not is_same_market(market, market + 0.003 * rng.standard_normal(300))
    assert not is_same_market(market, market.shift(1).dropna()) and not is_same_market(market, 0 * market)
    hours = pd.Series(market.to_numpy(), pd.date_range("2020-01-01", periods=300, freq="h", tz="America/New_York"))
    assert is_same_market(hours, hours.tz_convert("Europe/Berlin"))
    assert is_same_market(hours, hours.shift(1, freq="h")) is False


def test_where_too_few_dates_are_shared_the_markets_name_counts(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    bars = load_bars(DataConfig()).frame
    bars.iloc[:1500].rename_axis("date").to_csv("early.csv")
    fractions = ["data.split.train_end=null", "data.split.val_end=null"]
    run = train([*QUICK, *fractions, "data=csv", "data.path=early.csv", "data.symbol=IBM", "data.name=mine"])
    end = pd.Timestamp(run.tags["data.val_end"])
    returns = market_returns(load_data(compose_config(["data=ibm"])))
    late = returns[returns.index > end - pd.Timedelta(days=45)]  # some thirty bars are shared
    dates = (stamp(late.index[0]), stamp(late.index[-1]))
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    assert 10 < (late.index <= end).sum() < 60
    name = run.tags["data.instrument"]
    assert read_ledger(Store(client, "here"), MarketDates(name, dates, "else", late)).total == 1
