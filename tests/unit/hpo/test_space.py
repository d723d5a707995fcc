"""The search space: what it reads, what it refuses and how it says so, and that no bit is lost on the way to a job."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.keys import KEYS
from tradingbot_exp.config.overrides import quote
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.space.names import searchable
from tradingbot_exp.hpo.space.space import SearchSpace

LEARNING_RATES = ["model.learning_rate", "training.learning_rate"]
# The schema takes anything under this key, so it shows what the space itself does with a value.
ANYTHING = "training.gradient_clip"

optuna.logging.set_verbosity(optuna.logging.WARNING)


def refusal(param_space: Any, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        SearchSpace.parse(param_space, overrides)
    return str(caught.value)


def distribution(given: Any, key: str = ANYTHING) -> Any:
    return SearchSpace.parse({key: given}).distributions[key]


def read_back(override: str) -> Any:
    return OverridesParser.create().parse_override(override).value()


def same(a: Any, b: Any) -> bool:
    """Equal in value and type, all the way down."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


# What is read


def test_a_list_is_a_choice_in_its_own_order() -> None:
    assert distribution([64, 16, 32], "training.batch_size") == CategoricalDistribution([64, 16, 32])


def test_null_true_and_texts_can_be_chosen() -> None:
    assert distribution([None, True, "a b", 0.5]) == CategoricalDistribution([None, True, "a b", 0.5])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"low": 1, "high": 9}, IntDistribution(1, 9)),
        ({"low": 1, "high": 9, "step": 2}, IntDistribution(1, 9, step=2)),
        ({"low": 1, "high": 9, "log": True}, IntDistribution(1, 9, log=True)),
        ({"low": 1, "high": 9.0}, FloatDistribution(1, 9)),
        ({"low": 1, "high": 9, "step": 0.5}, FloatDistribution(1, 9, step=0.5)),
        ({"low": 1e-4, "high": 1e-2, "log": True, "step": None}, FloatDistribution(1e-4, 1e-2, log=True)),
        ({"low": -1.5, "high": 0, "log": None}, FloatDistribution(-1.5, 0)),
    ],
)
def test_a_mapping_is_a_range_of_whole_numbers_if_all_of_it_is_whole(given: Any, expected: Any) -> None:
    assert distribution(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"low": 1, "high": 10, "step": 4}, IntDistribution(1, 9, step=4)),
        ({"low": 0.1, "high": 1, "step": 0.2}, FloatDistribution(0.1, 0.9, step=0.2)),
        ({"low": 0.5, "high": 2, "step": 0.5}, FloatDistribution(0.5, 2.0, step=0.5)),
    ],
)
def test_a_high_that_steps_do_not_reach_is_lowered_without_a_warning(given: Any, expected: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distribution(given) == expected


@settings(max_examples=50)
@given(st.integers(-9999, 9999), st.integers(1, 999), st.integers(1, 40), st.integers(0, 998))
@example(1, 1, 2, 0)
def test_a_stepped_range_has_the_steps_that_fit(low: int, step: int, steps: int, rest: int) -> None:
    rest = min(rest, step - 1)
    given = {"low": low / 1000, "high": (low + steps * step + rest) / 1000, "step": step / 1000}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = SearchSpace.parse({ANYTHING: given})
    assert [point[ANYTHING] for point in space.grid()] == [(low + index * step) / 1000 for index in range(steps + 1)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("interval(1e-5,1e-1)", FloatDistribution(1e-5, 1e-1)),
        ("tag(log,interval(1e-5,1e-1))", FloatDistribution(1e-5, 1e-1, log=True)),
        ("int(interval(1,5))", IntDistribution(1, 5)),
        ("tag(log, int(interval(16, 256)))", IntDistribution(16, 256, log=True)),
        ("range(1,5)", IntDistribution(1, 4)),
        ("range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("shuffle(range(1,5))", IntDistribution(1, 4)),
        ("float(range(1,4))", CategoricalDistribution([1.0, 2.0, 3.0])),
        ("choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("choice('1',1,'b c')", CategoricalDistribution(["1", 1, "b c"])),
        ("null,true,2.5", CategoricalDistribution([None, True, 2.5])),
        ("[1,'a b'],[2]", CategoricalDistribution(['[1, "a b"]', "[2]"])),
    ],
)
def test_a_string_is_read_as_hydra_reads_a_sweep(given: str, expected: Any) -> None:
    found = distribution(given)
    assert found == expected
    if isinstance(expected, CategoricalDistribution):
        assert same(list(found.choices), list(expected.choices))


def test_a_shuffled_choice_keeps_one_order_so_that_a_study_can_be_resumed() -> None:
    spaces = [distribution(f"shuffle(choice({','.join(map(str, range(30)))}))").choices for _ in range(2)]
    assert spaces[0] == spaces[1] == tuple(range(30))


def test_bare_names_are_looked_up_in_model_and_training() -> None:
    space = SearchSpace.parse({"batch_size": [16, 32], "dropout": [0.0, 0.1], "data.sequence_length": [1, 5]})
    assert list(space.distributions) == ["training.batch_size", "model.dropout", "data.sequence_length"]


@pytest.mark.parametrize(
    "space",
    [
        *(SearchSpace.parse({name: [0.1, 0.01]}) for name in ("learning_rate", *LEARNING_RATES)),
        *(SearchSpace.parse({}, [f"{key}=0.1,0.01"]) for key in LEARNING_RATES),
    ],
)
def test_every_name_of_the_learning_rate_sets_both_keys(space: SearchSpace) -> None:
    assert list(space.parameters["model.learning_rate"].targets) == LEARNING_RATES
    assert space.decode({"model.learning_rate": 0.01}) == dict.fromkeys(LEARNING_RATES, 0.01)


def test_a_nested_block_is_read_as_dotted_keys() -> None:
    nested = SearchSpace.parse({"model": {"dropout": [0.0, 0.1]}, "training": {"epochs": {"low": 1, "high": 3}}})
    assert nested == SearchSpace.parse({"model.dropout": [0.0, 0.1], "training.epochs": {"low": 1, "high": 3}})


def test_an_omegaconf_node_is_read_like_a_plain_mapping() -> None:
    plain = {"hidden_layers": [[64, 32], [128]], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    assert SearchSpace.parse(OmegaConf.create(plain)) == SearchSpace.parse(plain)


def test_a_sweep_of_the_command_line_replaces_the_entry_in_its_place_and_others_join() -> None:
    space = SearchSpace.parse(
        {"learning_rate": [0.1, 0.2], "batch_size": [16, 32]},
        ["training.learning_rate=tag(log,interval(1e-5,1e-1))", "model.hidden_layers=[64,32],[128]"],
    )
    assert space.distributions == {
        "model.learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
        "training.batch_size": CategoricalDistribution([16, 32]),
        "model.hidden_layers": CategoricalDistribution(["[64, 32]", "[128]"]),
    }
    assert list(space.distributions) == ["model.learning_rate", "training.batch_size", "model.hidden_layers"]


def test_sweeps_alone_make_a_space() -> None:
    assert SearchSpace.parse({}, ["training.batch_size=16,32"]) == SearchSpace.parse({"batch_size": [16, 32]})


def test_keys_that_the_command_line_fixes_leave_the_space() -> None:
    space = SearchSpace.parse({"learning_rate": [0.1, 0.2], "batch_size": [16, 32]})
    assert space.without(["training.learning_rate", "data.symbol"]) == SearchSpace.parse({"batch_size": [16, 32]})
    assert space.without([]) == space
    with pytest.raises(ConfigError, match=r"nothing to search: model\.learning_rate, training\.batch_size\."):
        space.without(["model.learning_rate", "training.batch_size"])


# What is refused


@pytest.mark.parametrize(
    ("entry", "phrases"),
    [
        ({"batchsize": [1]}, ["hpo.param_space.batchsize is not a key", "Did you mean 'batch_size'?"]),
        ({"modle.dropout": [0.1]}, ["hpo.param_space.modle.dropout is not a key", "Did you mean 'model.dropout'?"]),
        ({"training.dropout": [0.1]}, ["hpo.param_space.training.dropout", "Did you mean 'model.dropout'?"]),
        ({"sequence_length": [1, 2]}, ["sequence_length is not a key", "Did you mean 'data.sequence_length'?"]),
        ({"seed": [1, 2]}, ["hpo.param_space.seed", "set hpo.repeats"]),
        ({"hpo.num_trials": [1]}, ["hpo.param_space.hpo.num_trials", "describes the search itself"]),
        ({"tracking.uri": ["a"]}, ["hpo.param_space.tracking.uri", "decides no result"]),
        ({"experiment.name": ["a"]}, ["hpo.param_space.experiment.name", "decides no result"]),
        ({"experiment.tags.team": ["a"]}, ["hpo.param_space.experiment.tags.team", "decides no result"]),
        ({"training.device": ["cpu"]}, ["training.device cannot be searched", "where trials are computed"]),
        ({"progress": ["off"]}, ["hpo.param_space.progress: training.progress", "does not decide a result"]),
        ({"data.path": ["a.csv"]}, ["data.path cannot be searched", "could not be compared"]),
        ({"data.name": ["ibm", "msft"]}, ["data.name cannot be searched", "Run one study for each"]),
        ({"data.horizon": [1, 5]}, ["data.horizon cannot be searched", "could not be compared"]),
        ({"data.target": ["return", "direction"]}, ["data.target cannot be searched", "Run one study for each"]),
        ({"data.split.train": [0.5]}, ["data.split.train cannot be searched", "could not be compared"]),
        ({"evaluation.cost_bps": [0, 5]}, ["evaluation.cost_bps cannot be searched", "could not be compared"]),
        ({"model.input_dim": [10]}, ["model.input_dim cannot be searched", "derived"]),
        ({"model": ["mlp", "lstm"]}, ["hpo.param_space.model: model is a block of keys", "Search one of model.name"]),
        ({"training": {"low": 1, "high": 2}}, ["training is a block of keys", "training.batch_size"]),
    ],
)
def test_a_name_that_cannot_be_searched_is_refused(entry: dict[str, Any], phrases: list[str]) -> None:
    message = refusal(entry)
    assert [phrase for phrase in phrases if phrase not in message] == [], message


@pytest.mark.parametrize(
    ("given", "phrases"),
    [
        (32, ["=32 is one value", "fix it with training.batch_size=32 instead"]),
        ("32", ["=32 is one value", "fix it with training.batch_size=32 instead"]),
        (True, ["=true is one value"]),
        (None, ["has no value", "remove the key"]),
        ("", ["has no value"]),
        ([], ["is an empty list"]),
        ([16, 32, 16], ["16 is given twice. Name each value once."]),
        ([16, "many"], ["training.batch_size must be a whole number; got 'many'"]),
        ([16, 0.5], ["training.batch_size must be a whole number; got '0.5'"]),
        ([16, None], ["training.batch_size cannot be null"]),
        ([{"a": 1}], ["is a dict", "A choice is among numbers"]),
        ([16, float("nan")], ["nan cannot be tried"]),
        (["${seed}"], ["'${seed}' stands for a value that is not known yet"]),
        ({}, ["'low' is missing"]),
        ({"low": 1}, ["'high' is missing", "{low: 1, high: 4}"]),
        ({"lo": 1, "high": 2}, ["'lo' is not a key of a range", "low, high, log, step", "Did you mean 'low'?"]),
        ({"low": 4, "high": 2}, ["low=4 has to be below high=2"]),
        ({"low": 4, "high": 4}, ["low=4 has to be below high=4"]),
        ({"low": 0, "high": 4, "log": True}, ["low=0 has no logarithm", "above 0"]),
        ({"low": 1, "high": 4, "log": True, "step": 1}, ["log and step=1 cannot go together"]),
        ({"low": 1, "high": 4, "log": 1}, ["log=1 is neither true nor false"]),
        ({"low": 1, "high": 4, "step": 0}, ["step=0 has to be above 0"]),
        ({"low": 1, "high": 4, "step": -1}, ["step=-1 has to be above 0"]),
        ({"low": 1, "high": 4, "step": 4}, ["step=4 is larger than the range from 1 to 4"]),
        ({"low": 0.0, "high": 1e300, "step": 1e-300}, ["step=1e-300 is too small"]),
        ({"low": float("nan"), "high": 4}, ["low=nan is not a finite number"]),
        ({"low": 1, "high": float("inf")}, ["high=inf is not a finite number"]),
        ({"low": 1, "high": 10**400}, ["is not a finite number"]),
        ({"low": "1e-4", "high": 4}, ["low='1e-4' is not a number", "write 1.0e-4"]),
        ({"low": False, "high": 4}, ["low=false is not a number"]),
        ({"low": 1, "high": [4]}, ["high=[4] is not a number"]),
        ({"low": 16.0, "high": 64.0}, ["draws fractions, which training.batch_size does not take", "whole numbers"]),
        ("interval(16,64)", ["draws fractions", "int(interval(A,B))"]),
        ("int(interval(5,1))", ["low=5 has to be below high=1"]),
        ("tag(log,interval(0,1))", ["low=0.0 has no logarithm"]),
        ("interval(nan,1)", ["low=nan is not a finite number"]),
        ("range(1,2)", ["is a range of one value", "training.batch_size=1"]),
        ("range(5,1)", ["'range(5,1)' is not a sweep that can be searched", "at least one value"]),
        ("range(1,5,0)", ["'range(1,5,0)' is not a sweep that can be searched", "nonzero step"]),
        ("range(1,nan)", ["'range(1,nan)' is not a sweep that can be searched"]),
        ("tag(log,range(1,5))", ["the tag 'log' has no meaning here", "tag(log,interval(A,B))"]),
        ("tag(lgo,interval(1,5))", ["the tag 'lgo' has no meaning here"]),
        ("intervall(1,5)", ["Unknown function 'intervall'", "Did you mean 'interval'?"]),
        ("interval(1,", ["'interval(1,' is not a sweep that can be searched", "range(1,5)"]),
        ("glob(*)", ["glob(...) chooses files"]),
        ("16,16", ["16 is given twice"]),
    ],
)
def test_a_value_that_cannot_be_searched_is_refused(given: Any, phrases: list[str]) -> None:
    message = refusal({"batch_size": given})
    assert message.startswith("hpo.param_space.batch_size")
    assert [phrase for phrase in phrases if phrase not in message] == [], message
    assert "\n" not in message


def test_values_that_optuna_cannot_tell_apart_are_duplicates() -> None:
    assert "true is given twice (as 1, which counts as the same)" in refusal({ANYTHING: [1, True]})
    assert "1.0 is given twice (as 1, which counts as the same)" in refusal({ANYTHING: [1, 1.0]})
    assert "[64,32] is given twice" in refusal({"hidden_layers": [[64, 32], [128], [64, 32]]})
    assert "a list and a text that looks like it" in refusal({ANYTHING: [[64, 32], "[64, 32]"]})


def test_a_text_and_the_number_that_it_spells_are_two_values() -> None:
    assert distribution(["1", 1]).choices == ("1", 1)


def test_two_entries_for_one_key_are_refused() -> None:
    message = refusal({"learning_rate": [0.1, 0.2], "training.learning_rate": [0.1, 0.3]})
    assert "hpo.param_space.training.learning_rate and hpo.param_space.learning_rate both set" in message
    assert "Keep one of them" in message
    swept = refusal({}, ("model.learning_rate=0.1,0.2", "training.learning_rate=0.1,0.3"))
    assert "training.learning_rate and model.learning_rate both set" in swept


@pytest.mark.parametrize("empty", [{}, OmegaConf.create({})])
def test_an_empty_space_is_refused(empty: Any) -> None:
    assert "hpo.param_space is empty: there is nothing to search" in refusal(empty)


def test_a_space_that_is_no_mapping_is_refused() -> None:
    assert "hpo.param_space=[1,2] is not a mapping" in refusal([1, 2])


@pytest.mark.parametrize(
    ("override", "phrases"),
    [
        ("training.batch_size=32", ["training.batch_size=32 is one value", "fix it with training.batch_size=32"]),
        ("batch_size=16,32", ["batch_size is not a key", "Did you mean 'training.batch_size'?"]),
        ("seed=1,2", ["seed cannot be searched", "set hpo.repeats"]),
        ("model=mlp,lstm", ["model is a block of keys"]),
        ("~training.batch_size", ["'~training.batch_size' is not a sweep", "training.batch_size=A,B"]),
        ("training.batch_size", ["'training.batch_size' is not a sweep"]),
        ("hydra.sweeper.n_trials=1,2", ["hydra.sweeper.n_trials is not a key"]),
        ("model.dropout=interval(1,0)", ["model.dropout: low=1.0 has to be below high=0.0"]),
    ],
)
def test_an_override_that_is_no_sweep_is_refused(override: str, phrases: list[str]) -> None:
    message = refusal({"batch_size": [16, 32]}, (override,))
    assert [phrase for phrase in phrases if phrase not in message] == [], message
    assert "hpo.param_space" not in message


def test_the_keys_that_may_be_searched_are_those_that_decide_a_result_on_one_task() -> None:
    assert set(searchable()) == {
        *("data.features", "data.sequence_length"),
        *("model.name", "model.hidden_layers", "model.activation", "model.dropout", "model.learning_rate"),
        *("training.epochs", "training.batch_size", "training.optimizer", "training.learning_rate"),
        *("training.weight_decay", "training.gradient_clip", "training.early_stopping", "training.loss"),
        "training.ensemble",
        *("training.scheduler", "training.precision", "training.momentum", "training.quantile", "training.pos_weight"),
    }
    for key in set(KEYS) - set(searchable()):
        assert refusal({key: [1, 2]}).startswith(f"hpo.param_space.{key}")


# From Optuna to a job


def test_trials_draw_what_is_in_the_space_and_decode_to_every_target() -> None:
    space = SearchSpace.parse(
        {
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "hidden_layers": [[64, 32], [128], []],
            "epochs": {"low": 5, "high": 50, "step": 5},
            "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
            "early_stopping": [None, 3],
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = set()
    for _ in range(40):
        trial = study.ask()
        params = space.suggest(trial)
        assert trial.params == params and trial.distributions == space.distributions
        values = space.decode(params)
        assert list(values) == [
            *LEARNING_RATES,
            *("model.hidden_layers", "training.epochs", "model.dropout", "training.early_stopping"),
        ]
        assert values["model.learning_rate"] == values["training.learning_rate"] == params["model.learning_rate"]
        assert values["model.hidden_layers"] in ([64, 32], [128], [])
        assert type(values["training.epochs"]) is int and values["training.epochs"] % 5 == 0
        drawn.add((params["model.hidden_layers"], values["training.early_stopping"]))
    assert len(drawn) == 6


def test_stored_trials_decode_alike(tmp_path: Any) -> None:
    space = SearchSpace.parse({"hidden_layers": [[64, 32], []], ANYTHING: [None, 0.1, "a"], "epochs": [1, 2]})
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal")))
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0))
    before = []
    for _ in range(8):
        trial = study.ask()
        before.append(space.decode(space.suggest(trial)))
        study.tell(trial, 0.0)
    after = optuna.load_study(study_name="s", storage=storage).trials
    assert all(map(same, [list(b.values()) for b in before], [list(space.decode(t.params).values()) for t in after]))


@pytest.mark.parametrize(
    ("params", "phrase"),
    [
        ({}, "training.batch_size has no value"),
        ({"batch_size": 16}, "batch_size is not searched. The space has: training.batch_size"),
        ({"training.batch_size": 128}, "training.batch_size=128 is not in the search space"),
        ({"training.batch_size": "16"}, "training.batch_size='16' is not in the search space"),
    ],
)
def test_params_of_another_space_are_refused(params: dict[str, Any], phrase: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchSpace.parse({"batch_size": [16, 32]}).decode(params)
    assert phrase in str(caught.value)


def test_a_number_outside_of_its_range_is_refused() -> None:
    space = SearchSpace.parse({"epochs": {"low": 1, "high": 5}})
    for wrong in (0, 6, True, "3", None):
        with pytest.raises(ConfigError, match="is not in the search space"):
            space.decode({"training.epochs": wrong})


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-05)
@example(-0.0)
@example(5e-324)
@example(1e22)
@example(0.1 + 0.2)
def test_no_bit_of_a_float_is_lost_in_an_override(number: float) -> None:
    found = read_back(f"model.dropout={quote(number)}")
    assert type(found) is float and found.hex() == number.hex()


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6))
@example("null")
@example("TRUE")
@example("nan")
@example("-Inf")
@example("12")
@example("1e-3")
@example("a, b")
@example('it\'s "so" \\')
@example("\\'")
@example(" [1] {a: b} ")
@example("range(1,5)")
@example(["a,b", ["'"], None, True, -1, -1.5, ""])
def test_hydra_reads_back_the_same_value_of_the_same_type(value: Any) -> None:
    assert same(read_back(f"key={quote(value)}"), value)


def test_there_is_one_override_a_target() -> None:
    space = SearchSpace.parse(
        {"learning_rate": {"low": 1e-5, "high": 1.0}, "hidden_layers": [[64, 32]], "optimizer": ["Adam", "my opt, 'x'"]}
    )
    params = {
        "model.learning_rate": 1e-05,
        "model.hidden_layers": "[64, 32]",
        "training.optimizer": "my opt, 'x'",
    }
    assert space.suggest(FixedTrial(params)) == params
    assert space.overrides(params) == [
        "model.learning_rate=1e-05",
        "training.learning_rate=1e-05",
        "model.hidden_layers=[64,32]",
        r"training.optimizer='my opt, \'x\''",
    ]


def test_overrides_compose_into_the_values_that_were_drawn() -> None:
    with initialize_config_dir(str(conf_dir())):
        config = finalize(compose("config", ["hpo=wide"]))
        space = SearchSpace.parse(config.hpo.param_space)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        for _ in range(3):
            params = space.suggest(study.ask())
            overrides = space.overrides(params)
            job = finalize(compose("config", overrides), overrides)
            for key, value in space.decode(params).items():
                block, _, name = key.partition(".")
                assert same(getattr(getattr(job, block), name), value)


@pytest.mark.parametrize("option", ["default", "grid", "random", "wide"])
def test_every_search_option_makes_a_space(option: str) -> None:
    with initialize_config_dir(str(conf_dir())):
        hpo = finalize(compose("config", [f"hpo={option}"])).hpo
    space = SearchSpace.parse(hpo.param_space)
    assert "model.learning_rate" in space.distributions
    if hpo.sampler == "grid":
        assert len(space.grid()) == hpo.num_trials


# The grid and the description


def test_a_grid_lists_every_encoded_point_with_the_last_parameter_fastest() -> None:
    space = SearchSpace.parse({"hidden_layers": [[8], []], "dropout": {"low": 0.1, "high": 0.3, "step": 0.1}})
    points = [tuple(point.values()) for point in space.grid()]
    assert points == [("[8]", 0.1), ("[8]", 0.2), ("[8]", 0.3), ("[]", 0.1), ("[]", 0.2), ("[]", 0.3)]
    assert all(list(point) == ["model.hidden_layers", "model.dropout"] for point in space.grid())


def test_whole_ranges_of_a_grid_include_both_ends() -> None:
    assert [p["training.epochs"] for p in SearchSpace.parse({"epochs": "range(1,10,3)"}).grid()] == [1, 4, 7]
    assert [p["training.epochs"] for p in SearchSpace.parse({"epochs": {"low": 1, "high": 3}}).grid()] == [1, 2, 3]


def test_every_point_of_a_grid_can_be_enqueued_and_drawn() -> None:
    space = SearchSpace.parse({"dropout": {"low": 0.0, "high": 0.7, "step": 0.1}, "epochs": {"low": 1, "high": 2}})
    study = optuna.create_study()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for point in space.grid():
            study.enqueue_trial(point)
            assert space.suggest(study.ask()) == point


def test_a_grid_over_a_continuous_range_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        SearchSpace.parse({"batch_size": [1, 2], "dropout": {"low": 0.0, "high": 0.5}}).grid()
    assert "hpo.param_space.dropout is a continuous range from 0.0 to 0.5" in str(caught.value)
    assert "Give it a step" in str(caught.value) and "or a list" in str(caught.value)


def test_a_grid_too_large_to_list_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="a grid of 10000000000 points"):
        SearchSpace.parse({"epochs": {"low": 1, "high": 10**10}}).grid()
    with pytest.raises(ConfigError, match="a grid of 5000000001 points"):
        SearchSpace.parse({"dropout": {"low": 0.0, "high": 0.5, "step": 1e-10}}).grid()


def test_a_description_is_plain_json_with_decoded_choices() -> None:
    space = SearchSpace.parse(
        {
            "hidden_layers": [[64, 32], [128]],
            "learning_rate": "tag(log,interval(1e-4,1e-2))",
            "epochs": {"low": 5, "high": 50, "step": 5},
            "early_stopping": [None, 3],
        }
    )
    expected = {
        "model.hidden_layers": {"choices": [[64, 32], [128]]},
        "model.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True, "step": None},
        "training.epochs": {"low": 5, "high": 50, "log": False, "step": 5},
        "training.early_stopping": {"choices": [None, 3]},
    }
    assert space.describe() == expected == json.loads(json.dumps(space.describe(), allow_nan=False))


def test_spaces_that_are_written_differently_but_mean_the_same_are_equal() -> None:
    written = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch_size": [16, 32]}
    swept = ["training.learning_rate=tag(log,interval(1e-4,1e-2))", "training.batch_size=16,32"]
    assert SearchSpace.parse(written) == SearchSpace.parse({}, swept)
    assert SearchSpace.parse(written) != SearchSpace.parse(written | {"batch_size": [16, 64]})


def test_changing_a_decoded_list_or_a_description_leaves_the_space_alone() -> None:
    space = SearchSpace.parse({"hidden_layers": [[64], [32]]})
    space.decode({"model.hidden_layers": "[64]"})["model.hidden_layers"].append(1)
    space.describe()["model.hidden_layers"]["choices"][0].append(1)
    assert space.describe() == {"model.hidden_layers": {"choices": [[64], [32]]}}


def test_a_space_travels_to_a_worker_process() -> None:
    space = SearchSpace.parse({"hidden_layers": [[64], [32]], "dropout": {"low": 0.0, "high": 0.5}})
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301


@pytest.mark.parametrize(("statement", "loaded"), [("import tradingbot_exp.hpo.space", False), ("SearchSpace", True)])
def test_optuna_is_loaded_by_the_space_and_not_by_the_package(statement: str, loaded: bool) -> None:
    code = statement if statement.startswith("import") else f"from tradingbot_exp.hpo.space import {statement}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print('optuna' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(loaded)
