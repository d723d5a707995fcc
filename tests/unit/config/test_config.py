"""Composition: every option composes, the two learning rates are one, and the hash sees what decides a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from tradingbot_exp.config.finalize import config_sha256, finalize, tried_sha256
from tradingbot_exp.config.help import key_comments
from tradingbot_exp.config.keys import BLOCKS, KEYS
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError

GROUPS = ("data", "model", "training", "hpo", "tracking", "experiment")
NEEDED = {
    "data=csv": ["data.path=bars.csv"],
    "data=table": ["data.path=t.csv", "data.features=[a]", "data.target=y"],
}


def composed(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(conf_dir())):
        return compose("config", list(overrides))


def final(*overrides: str) -> Config:
    return finalize(composed(overrides), overrides)


def options() -> list[str]:
    found = []
    for group in GROUPS:
        names = sorted(file.stem for file in (conf_dir() / group).glob("*.yaml") if file.stem != "base")
        found += [f"{group}={name}" for name in names]
    return found


@pytest.mark.parametrize("option", options())
def test_every_option_of_every_group_composes_and_passes_its_checks(option: str) -> None:
    config = final(option, *NEEDED.get(option, []))
    assert isinstance(config, Config)
    group, _, name = option.partition("=")
    if group in ("data", "model"):
        assert getattr(config, group).name == name


def test_there_are_options_to_compose() -> None:
    assert {"data=ibm", "model=lstm", "training=smoke", "hpo=grid", "experiment=hpo_example"} <= set(options())


@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        ([], 0.001),
        (["model.learning_rate=0.005"], 0.005),
        (["training.learning_rate=0.005"], 0.005),
        (["model.learning_rate=0.005", "training.learning_rate=5e-3"], 0.005),
        # The template's training.learning_rate is a literal: the command line comes after it, with either key.
        (["experiment=basic_training_example"], 0.001),
        (["experiment=basic_training_example", "model.learning_rate=0.005"], 0.005),
        (["experiment=basic_training_example", "training.learning_rate=0.005"], 0.005),
        (["++model.learning_rate=0.005"], 0.005),
    ],
)
def test_the_learning_rate_set_last_counts_for_both(overrides: list[str], value: float) -> None:
    config = final(*overrides)
    assert config.model.learning_rate == config.training.learning_rate == value


@pytest.mark.parametrize("body", ["model: {learning_rate: 0.02}", "training: {learning_rate: 0.02}"])
def test_a_file_sets_both_with_either_key(body: str, tmp_path: Path) -> None:
    config = _with_template(tmp_path, body)
    assert config.model.learning_rate == config.training.learning_rate == 0.02


def test_a_file_that_sets_the_default_value_by_one_key_and_another_by_the_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.learning_rate=0.001 and training.learning_rate=0.02 differ"):
        _with_template(tmp_path, "model: {learning_rate: 0.001}\ntraining: {learning_rate: 0.02}")


def _with_template(folder: Path, body: str) -> Config:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{body}\n")
    overrides = ["experiment=mine"]
    return finalize(composed([f"hydra.searchpath=[file://{folder}]", *overrides]), overrides)


def test_dates_replace_the_fractions_of_a_split() -> None:
    split = final("data.split.train_end=2009-12-31", "data.split.val_end=2011-06-30").data.split
    assert (split.train, split.val, split.test) == (None, None, None)


@pytest.mark.parametrize("off", ["null", "false", "off", "none"])
def test_early_stopping_and_clipping_can_be_switched_off_in_any_spelling(off: str) -> None:
    config = final(f"training.early_stopping={off}", f"training.gradient_clip={off}")
    assert config.training.early_stopping is None and config.training.gradient_clip is None


@pytest.mark.parametrize(
    ("overrides", "texts"),
    [
        (["training.early_stopping=0"], ["training.early_stopping must be", "1 or more", "got 0"]),
        (["training.gradient_clip=-1"], ["training.gradient_clip must be", "above 0", "got -1"]),
        (["model.hidden_layers=[64,0]"], ["model.hidden_layers must be", "got [64, 0]"]),
        (["model=linear", "model.hidden_layers=[4]"], ["model.hidden_layers", "model=mlp"]),
        (["model=lstm", "model.hidden_layers=[]"], ["model.hidden_layers must be", "model=lstm"]),
        (["model.dropout=1"], ["model.dropout must be", "below 1", "got 1"]),
        (["training.optimizer=SGD", "training.momentum=1"], ["training.momentum must be", "below 1", "got 1"]),
        (["training.momentum=0.9"], ["training.momentum=0.9", "SGD or RMSprop", "Adam takes none"]),
        (["model.learning_rate=nan"], ["model.learning_rate must be", "got nan"]),
        (["evaluation.cost_bps=-1"], ["evaluation.cost_bps must be 0 or more basis points; got -1"]),
        (["evaluation.scheme=walkforward"], ["evaluation.scheme must be", "Did you mean 'walk_forward'?"]),
        (["evaluation.window=roling"], ["evaluation.window must be", "Did you mean 'rolling'?"]),
        (["evaluation.folds=1"], ["evaluation.folds must be 2 or more; got 1"]),
        (["evaluation.embargo=-1"], ["evaluation.embargo must be 0 or more bars", "got -1"]),
        (["data.horizon=5", "evaluation.purge=4"], ["evaluation.purge must be at least data.horizon=5"]),
        (["evaluation.purge=-1"], ["evaluation.purge must be at least data.horizon=1", "got -1"]),
        (["hpo.aggregate=wurst"], ["hpo.aggregate must be", "Did you mean 'worst'?"]),
        (["hpo.aggregate=worst"], ["hpo.aggregate=worst", "evaluation.scheme=chronological has one"]),
        (["hpo.std_multiple=-1"], ["hpo.std_multiple must be 0 or more; got -1"]),
        (["evaluation.periods_per_year=often"], ["evaluation.periods_per_year must be", "auto; got 'often'"]),
        (["data.features=[]"], ["data.features"]),
        (["data=msft", "data.name=aapl"], ["data.name must be one of ibm, msft, tech; got 'aapl'"]),
        (["data.path=x.csv"], ["data.path=x.csv", "data=csv"]),
        (["data.columns.close=Last"], ["data.columns.close", "data=ibm", "data=csv"]),
        (["data.returns=r"], ["data.returns=r", "data=table"]),
        (["data.split.train_end=2010-01-01"], ["data.split.val_end is missing"]),
        (["data.split.test_end=2010-01-01"], ["data.split.test_end"]),
        (["tracking.uri=ftp://x"], ["tracking.uri", "ftp"]),
        (["tracking.uri=''"], ["tracking.uri must be an address", "got ''"]),
        (["hpo.metric=[val_loss,val_sharpe]"], ["hpo.metric", "hpo.direction"]),
        ([f"hpo.study_name={'x' * 201}"], ["hpo.study_name must be one line of at most 200 letters", "got 'xxx"]),
        (["hpo.study_name='a\nb'"], ["hpo.study_name must be one line", "got 'a\\nb'"]),
        (["hpo.direction=up"], ["hpo.direction must be one of minimize, maximize; got 'up'"]),
        (["model.learning_rate=${training.learning_rate}"], ["learning_rate"]),
    ],
)
def test_values_at_odds_are_refused_by_key(overrides: list[str], texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        final(*overrides)
    for text in texts:
        assert text in str(caught.value)


def test_a_tag_that_mlflow_would_not_take_is_refused_by_name() -> None:
    config = composed([])
    config.experiment.tags = {"bad@name": 1}
    with pytest.raises(ConfigError, match="bad@name"):
        finalize(config)


def test_the_hash_sees_values_and_not_how_they_were_written() -> None:
    print_ = "f" * 32
    base = config_sha256(final(), print_)
    for same in (["+experiment.tags.a=1"], ["training.learning_rate=0.001"], ["model.learning_rate=1e-3", "seed=42"]):
        assert config_sha256(final(*same), print_) == base, same
    assert config_sha256(final(), "0" * 32) != base


@pytest.mark.parametrize(
    ("overrides", "digest", "tried"),
    [
        ([], "5bf9bc190632be1d", "6c512b958a39fd0c"),
        (["evaluation.scheme=walk_forward", "evaluation.purge=3"], "848330b1e8aa1b91", "89909a42f13d0d66"),
        (["data=csv", "data.path=a.csv", "data.symbol=X"], "979bfc12c3dc09f6", "6c512b958a39fd0c"),
    ],
)
def test_hashes_stay_what_they_are_on_record(overrides: list[str], digest: str, tried: str) -> None:
    config = final(*overrides)
    assert config_sha256(config, "f" * 32).startswith(digest) and tried_sha256(config).startswith(tried)


def test_the_hash_sees_a_validation_scheme_and_of_its_keys_those_that_it_reads() -> None:
    walk, purged = ["evaluation.scheme=walk_forward"], ["evaluation.scheme=purged_kfold"]

    def hashed(*overrides: str) -> str:
        return config_sha256(final(*overrides), "f" * 32)

    different = [
        *([], ["evaluation.purge=2"]),
        *(walk, [*walk, "evaluation.folds=4"], [*walk, "evaluation.window=rolling"], [*walk, "evaluation.purge=2"]),
        *(purged, [*purged, "evaluation.folds=4"], [*purged, "evaluation.embargo=3"]),
    ]
    assert len({hashed(*overrides) for overrides in different}) == len(different)
    assert hashed("evaluation.folds=4", "evaluation.window=rolling", "evaluation.embargo=1") == hashed()
    assert hashed(*walk, "evaluation.embargo=1", "evaluation.purge=1") == hashed(*walk)
    assert hashed(*purged, "evaluation.window=rolling") == hashed(*purged)


def test_the_hash_sees_a_position_rule_and_of_its_keys_those_that_it_reads() -> None:
    def hashed(rule: str, *overrides: str) -> tuple[str, str]:
        config = final(f"evaluation.position={rule}", *(f"evaluation.{each}" for each in overrides))
        return config_sha256(config, "f" * 32), tried_sha256(config)

    different = [
        *(("sign",), ("sign", "borrow_bps=50"), ("long_only",), ("threshold",), ("threshold", "threshold=0.001")),
        *(("proportional",), ("proportional", "max_position=2"), ("vol_target",), ("vol_target", "vol_window=60")),
        *(("vol_target", "vol_target=0.1"), ("long_short",), ("long_short", "quantile=0.1")),
    ]
    assert len({hashed(*each) for each in different}) == len(different)
    unread = ["threshold=1", "max_position=2", "vol_target=1", "vol_window=9", "quantile=0.5"]
    assert hashed("sign", *unread, "borrow_bps=0", "min_symbols=3") == hashed("sign")
    assert hashed("sign", "min_symbols=2") != hashed("sign")  # which metrics across symbols read
    assert hashed("long_short", *unread[:4]) == hashed("long_short")


def test_the_hash_sees_a_losss_own_number_where_the_loss_reads_it() -> None:
    pinball, bce = ["training.loss=pinball"], ["training.loss=bce", "data.target=direction"]
    different = [
        *([], pinball, [*pinball, "training.quantile=0.9"]),
        *(bce, [*bce, "training.pos_weight=2"], [*bce, "training.pos_weight=balanced"]),
    ]
    assert len({config_sha256(final(*overrides), "f" * 32) for overrides in different}) == len(different)


def test_every_key_has_a_comment_in_its_file() -> None:
    comments = key_comments(conf_dir())
    # One comment stands for the keys of a group of three.
    obvious = {"data.split.train", "data.split.val", "data.split.test", "data.split.val_end"}
    assert KEYS.keys() - BLOCKS - obvious <= comments.keys()
