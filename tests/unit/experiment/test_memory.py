"""A network that cannot be held in memory is refused by its size; one that can is let through."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tradingbot_exp.config.choices import SEQUENCE_MODELS
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.memory import _free_of_group, bytes_needed, check_memory, free_memory
from tradingbot_exp.hpo.checks import check_sizes
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.models.registry import build_model


@pytest.fixture(scope="module")
def config() -> Config:
    return compose_config(["data=synthetic"])


@pytest.mark.parametrize(
    ("name", "layers", "length"),
    [
        *(("linear", [], 1), ("mlp", [64, 32], 1), ("mlp", [200], 20), ("lstm", [16], 8), ("lstm", [300, 100], 5)),
        *(("gru", [32, 16], 8), ("tcn", [32, 32, 16], 8), ("transformer", [32, 32], 8)),
    ],
)
def test_the_weights_are_those_that_torch_makes(config: Config, name: str, layers: list[int], length: int) -> None:
    model = replace(config.model, name=name, hidden_layers=layers)
    weights = sum(each.numel() for each in build_model(model, 10, length).parameters())
    config = replace(config, model=model, data=replace(config.data, sequence_length=length))
    steps = length if name in SEQUENCE_MODELS else 1
    first = 10 * length // steps
    kept = {"lstm": 6, "gru": 10, "tcn": 7, "transformer": 14}.get(name, 1)
    widest = kept * max([first, *layers, 1]) + (2 * 4 * length if name == "transformer" else 0)
    passed = steps * (first + widest)
    assert bytes_needed(config, 10, 1000) == 4 * (5 * weights + 1000 * passed)


def test_a_batch_is_no_larger_than_the_data_and_float64_takes_twice(config: Config) -> None:
    plain, double, wide = (
        bytes_needed(replace(config, training=replace(config.training, **changes)), 10, 1000)
        for changes in ({"batch_size": 500}, {"batch_size": 500, "precision": "float64"}, {"batch_size": 10**9})
    )
    assert double == 2 * plain and plain < wide < 2 * plain


@pytest.mark.parametrize(("precision", "each"), [("float32", 8 * 1000), ("float64", 8 * 1300)])
def test_windows_of_a_panel_are_copied_and_counted(config: Config, precision: str, each: int) -> None:
    long = replace(
        config,
        data=replace(config.data, sequence_length=20),
        training=replace(config.training, precision=precision),
    )
    plain, panel = (bytes_needed(long, 10, 1000, copied) for copied in (0, 300))
    assert panel - plain == each * 20 * 10
    assert bytes_needed(config, 10, 1000, 300) == bytes_needed(config, 10, 1000)  # one bar is no window
    mine = replace(long, model=replace(config.model, name="mine"))
    assert bytes_needed(mine, 10, 1000) == 0 and bytes_needed(mine, 10, 1000, 300) == each * 20 * 10
    endless = replace(mine, data=replace(config.data, sequence_length=10**9))
    check_memory(endless, load_data(config))
    several = compose_config(["data=synthetic", "data.synthetic.symbols=3", "data.synthetic.bars=200"])
    with pytest.raises(ConfigError, match=r"take \d\d,\d\d0\.0 GB of memory"):
        check_memory(endless, load_data(several))


def test_what_does_not_fit_is_refused_by_its_size_and_so_is_what_a_study_searches(config: Config) -> None:
    data = load_data(config)
    check_memory(config, data)
    huge = replace(config, model=replace(config.model, hidden_layers=[10**6, 10**6]))
    with pytest.raises(ConfigError, match=r"hidden_layers=\[1000000, 1000000\] .* take 20,0\d\d\.\d GB of memory, and"):
        check_memory(huge, data)
    check_memory(replace(huge, training=replace(huge.training, device="cuda")), data)
    for space, fits in (
        ({"model.hidden_layers": [[8], [16]]}, True),
        ({"model.hidden_layers": [[8], [10**6] * 2]}, False),
    ):
        with nullcontext() if fits else pytest.raises(ConfigError, match="GB of memory"):
            check_sizes(huge, SearchSpace.parse(space), data)


@pytest.mark.parametrize(("limit", "free"), [("1000", 1000 - 900 + 300 + 200), ("max", None), (None, None)])
def test_a_control_groups_files_in_memory_count_as_free(tmp_path: Path, limit: str | None, free: int | None) -> None:
    if limit is not None:
        (tmp_path / "max").write_text(f"{limit}\n")
        (tmp_path / "current").write_text("900\n")
        (tmp_path / "memory.stat").write_text("anon 1\nx_inactive_file 300\nx_active_file 200\ninactive_file 7\n")
    assert _free_of_group(tmp_path, "max", "current", "x_") == free


def test_each_fold_has_its_own_weights_and_a_users_model_is_not_judged(config: Config) -> None:
    folds = replace(config, evaluation=replace(config.evaluation, scheme="walk_forward", folds=7))
    gained = bytes_needed(folds, 10, 1000) - bytes_needed(config, 10, 1000)
    assert gained == 4 * 5 * 6 * (11 * 64 + 65 * 32 + 33)
    assert bytes_needed(replace(config, model=replace(config.model, name="mine")), 10, 1000) == 0


def test_what_is_free_is_some_of_the_machine() -> None:
    assert 0 < free_memory() < 2**50
