"""What is read out of a study's record: axes, ranks, scales, importances, neighbours, commands."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.study_records import PARAMS, SPACE, TAGS, random_trials, study, trial
from tradingbot_exp.reporting.study.again import again_command, continue_blocks, sweep_of, winner_blocks
from tradingbot_exp.reporting.study.axes import axes_of, space_size, tick_text
from tradingbot_exp.reporting.study.importance import LEAST, importance_of, importance_words
from tradingbot_exp.reporting.study.neighbours import Neighbours, neighbour_words, neighbours_of
from tradingbot_exp.reporting.study.numbers import best_so_far, metric_label, scale_of, study_of, value_text
from tradingbot_exp.reporting.study.summary import caution, headline
from tradingbot_exp.tracking.reading.run_record import Artifacts

WIDE_SPACE = {
    "model.hidden_layers": {"choices": [[64, 32], [128]]},
    "model.units": {"low": 1, "high": 256, "log": True, "step": 1},
    "model.dropout": {"low": 0.0, "high": 0.6, "log": False, "step": 0.1},
    "training.weight_decay": {"low": 1e-7, "high": 1e-2, "log": True, "step": None},
    "training.nesterov": {"choices": [True, False, None]},
    "training.batch_size": {"choices": [64, 16, 32]},
    "training.epochs": {"low": 2, "high": 9, "log": False, "step": 1},
}
WIDE_PARAMS = {
    "model.hidden_layers": "[128]",
    "model.units": 16,
    "model.dropout": 0.3,
    "training.weight_decay": 1e-5,
    "training.nesterov": "False",
    "training.batch_size": 16,
    "training.epochs": 9,
}


def wide():
    axes, _ = axes_of(WIDE_SPACE, [trial(0, 0.1, params=WIDE_PARAMS)])
    return {axis.key: axis for axis in axes}


def test_every_kind_of_entry_gives_an_axis_on_which_its_values_have_a_place():
    shares = {key: axis.share(WIDE_PARAMS[key]) for key, axis in wide().items()}
    assert shares == pytest.approx(
        {
            "model.hidden_layers": 1.0,
            "model.units": 0.5,
            "model.dropout": 0.5,
            "training.weight_decay": 0.4,
            "training.nesterov": 0.5,
            "training.batch_size": 0.0,
            "training.epochs": 1.0,
        }
    )


def test_axes_say_what_was_searched_and_have_ticks_at_choices_or_round_values():
    words = {key: axis.described_as() for key, axis in wide().items()}
    assert words == {
        "model.hidden_layers": "one of 64, 32; 128",
        "model.units": "whole numbers, 1 to 256, evenly on a log scale",
        "model.dropout": "0 to 0.6 in steps of 0.1",
        "training.weight_decay": "10⁻⁷ to 0.01, evenly on a log scale",
        "training.nesterov": "one of True; False; not set",
        "training.batch_size": "one of 16; 32; 64",
        "training.epochs": "whole numbers, 2 to 9",
    }
    axes = wide()
    assert [key for key, axis in axes.items() if not axis.ordered] == ["model.hidden_layers", "training.nesterov"]
    assert math.isnan(axes["model.hidden_layers"].share("[7]"))
    assert [text for _, text in axes["training.batch_size"].ticks()] == ["16", "32", "64"]
    assert [text for _, text in axes["model.units"].ticks()] == ["1", "10", "100", "256"]
    assert [text for _, text in axes["model.dropout"].ticks()] == ["0", "0.3", "0.6"]
    assert (tick_text(-0.0000012345), tick_text(12345.0)) == ("−1.23×10⁻⁶", "12,345")


def test_axes_have_names_of_their_own_and_reach_over_all_values_and_none_stands_for_a_twin():
    axes, _ = axes_of({"model.x": {"choices": [1, 2]}, "training.x": {"choices": [3, 4]}}, [])
    assert [axis.name for axis in axes] == ["model.x", "training.x"]
    assert space_size(axes).replace("\u00a0", " ") == "4 points"
    assert space_size(axes_of(SPACE, [])[0]) == ""
    odd = trial(0, 0.1, params={"model.learning_rate": 0.5, "training.batch_size": 128})
    rate, size = axes_of(SPACE, [odd])[0]
    assert (rate.low, rate.high, size.choices[-1]) == (1e-4, 0.5, "128")
    trials = [
        trial(i, 0.1, params={"model.learning_rate": x, "training.learning_rate": x}) for i, x in enumerate((1, 2))
    ]
    axes, twins = axes_of({}, trials)
    assert [axis.key for axis in axes] == ["model.learning_rate"]
    assert twins == {"training.learning_rate": "model.learning_rate"}


def test_many_numbers_are_a_range_where_no_space_says_what_they_are():
    many = [trial(n, 0.1, params={"model.rate": 10.0 ** (-n / 10), "training.epochs": n}) for n in range(21)]
    (rate, epochs), _ = axes_of({}, many)
    assert (rate.kind, rate.log, rate.low, rate.high) == ("float", True, 0.01, 1.0)
    assert (epochs.kind, epochs.log, epochs.described_as()) == ("int", False, "given: whole numbers, 0 to 20")
    (rate, _), _ = axes_of({}, many[1:])
    assert rate.kind == "choice" and len(rate.choices) == 20


def test_the_best_is_the_lowest_or_highest_finite_value_and_of_equals_the_first():
    trials = [trial(0, 0.3), trial(1, 0.1), trial(2, 0.1), trial(3, math.nan), trial(4, state="pruned")]
    low, high = (study_of(study(trials, directions=(way,))) for way in ("minimize", "maximize"))
    assert [each.number for each in low.best] == [1, 2, 0]
    assert [each.number for each in high.best] == [0, 1, 2]
    assert low.counts == {"complete": 4, "pruned": 1}


def test_of_several_objectives_the_best_are_those_that_none_dominates():
    values = [(0.1, 5.0), (0.2, 6.0), (0.3, 5.5), (0.1, 7.0), (0.1, 5.0)]
    record = study(
        [trial(i, each) for i, each in enumerate(values)],
        metrics=("val_ic", "val_mse"),
        directions=("maximize", "minimize"),
    )
    found = study_of(record)
    assert [each.number for each in found.best] == [2, 0, 4]
    assert found.winner is None
    assert found.ranked(1)[0].number == 0


def test_the_jobs_of_a_foreign_sweep_are_judged_by_what_they_returned():
    trials = [trial(-1, state="complete", metrics={"objective": x}, run_id=f"id{x}") for x in (3.0, 1.0, 2.0)]
    found = study_of(study(trials, {}, kind="sweep"))
    assert found.assumed
    assert [(each.number, each.values) for each in found.best] == [(1, (1.0,)), (2, (2.0,)), (0, (3.0,))]


def test_positive_values_over_decades_are_drawn_on_a_log_scale_and_others_are_not():
    assert scale_of([1e-4, 1e-3, 1.0]).log
    assert not scale_of([1e-4, 2e-4]).log
    assert not scale_of([-5.0, 100.0]).log
    assert scale_of([math.nan, math.inf]).range == [-0.06, 1.06]
    values = [-0.1, -0.2, -0.3, -0.25, -1e12]  # the last is off the scale unless it has to be seen
    assert (scale_of(values).off, scale_of(values).low) == (1, -0.3)
    assert scale_of(values).note() == " · 1\u00a0value off the scale"
    assert scale_of(values, keep=-1e12).off == 0
    assert best_so_far(np.array([3.0, 4.0, 1.0, 2.0])).tolist() == [3.0, 3.0, 1.0, 1.0]


def test_metrics_are_written_with_the_digits_that_they_are_known_by():
    run = study().run
    assert (value_text("val_ic", 0.12345), value_text("val_loss", 1.23456e-4)) == ("0.123", "1.235\u00a0×\u00a010⁻⁴")
    assert (metric_label("val_loss", run), metric_label("val_ic", run)) == ("val_loss (mse)", "val_ic (IC)")


def test_the_importance_finds_the_parameter_that_decides_and_marks_the_others_as_luck():
    trials = random_trials(150)
    found = importance_of(study_of(study(trials)))
    assert found.names[0] == "learning_rate"
    assert sum(found.shares) == pytest.approx(1)
    assert found.beyond_luck == ["learning_rate"]
    assert "PED-ANOVA" in importance_words(found)
    turned = [replace(each, values=tuple(-value for value in each.values)) for each in trials]
    high = importance_of(study_of(study(turned, directions=("maximize",))))
    assert (found.names, found.shares) == (high.names, high.shares)


def test_the_importance_takes_every_kind_of_parameter():
    rng = np.random.default_rng(0)
    trials = []
    for number in range(80):
        params = {
            "model.hidden_layers": str(WIDE_SPACE["model.hidden_layers"]["choices"][number % 2]),
            "model.units": int(rng.integers(1, 257)),
            "model.dropout": float(rng.integers(0, 7)) / 10,
            "training.weight_decay": 10 ** rng.uniform(-7, -2),
            "training.nesterov": ("True", "False", "None")[number % 3],
            "training.batch_size": int(rng.choice([16, 32, 64])),
            "training.epochs": 9,
        }
        trials.append(trial(number, float(rng.normal() + 4 * (number % 2)), params=params))
    found = importance_of(study_of(study(trials, WIDE_SPACE)))
    assert found.beyond_luck == ["hidden_layers"]
    assert found.names[0] == "hidden_layers"
    assert len(found.names) == 6
    assert found.left_out == ("epochs",)


@pytest.mark.parametrize(
    ("trials", "space", "why"),
    [
        (random_trials(4), SPACE, f"it takes {LEAST} different complete trials, and there are 4"),
        ([trial(i, i / 10, params={"a": i}) for i in range(12)], {}, "only one parameter was searched"),
        ([trial(i, 0.1, params={"a": i, "b": -i}) for i in range(12)], {}, "all trials have the same value"),
        ([trial(i, i / 10) for i in range(12)], SPACE, "no parameter has two values among the complete trials"),
        ([trial(i, i / 10, duplicate_of=0 if i else None) for i in range(12)], SPACE, "and there is 1"),
    ],
)
def test_where_importance_cannot_be_told_the_report_says_why(trials, space, why):
    found = importance_of(study_of(study(trials, space)))
    assert why in importance_words(found)
    assert not found.shares


def near_and_far(values):
    """Return a study over x from 0 on, in which the winner is at 0."""
    trials = [trial(i, value, params={"x": i}) for i, value in enumerate(values)]
    return study_of(study(trials, {"x": {"low": 0, "high": len(values) - 1, "log": False, "step": 1}}))


def test_neighbours_are_the_nearest_in_the_space_with_their_gaps_to_the_winner():
    found = neighbours_of(near_and_far([1.0, 1.1, 1.2, 1.3, 3.0, 5.0]))
    assert isinstance(found, Neighbours)
    assert found.numbers.tolist() == [1, 2, 3, 4, 5]
    assert found.distances.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert (found.near_gap, found.all_gap) == (pytest.approx(0.2), pytest.approx(0.3))
    trials = [*random_trials(4), trial(9, 1e-3, duplicate_of=0)]  # the last is no neighbour
    assert "takes 5 different complete trials" in neighbours_of(study_of(study(trials)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 1.01, 1.02, 1.03, 3.0, 5.0, 4.0, 6.0], "much better than most"),
        ([1.0, 3.0, 3.1, 3.2, 4.0, 4.1, 4.2, 4.3], "only a little better"),
        ([1.0, 5.0, 4.9, 5.1, 2.0, 2.1, 2.2, 2.3], "the winner stands alone"),
        ([1.0] * 8, "makes little difference"),
    ],
)
def test_the_neighbourhood_is_told_in_words(values, said):
    found = neighbours_of(near_and_far(values))
    assert said in neighbour_words(found, 1.0)


@pytest.mark.parametrize(("trials", "few"), [(9, True), (40, False)])
def test_nothing_is_concluded_of_a_neighbourhood_that_is_most_of_the_trials_without_saying_so(trials, few):
    found = neighbours_of(study_of(study(random_trials(trials))))
    assert ("Of so few trials the nearest are not near" in neighbour_words(found, 1.0)) is few


def test_a_study_of_choices_without_order_counts_those_that_differ():
    space = {"model.activation": {"choices": ["relu", "tanh", "gelu"]}, "model.seed": {"choices": ["a", "b"]}}
    names = [("relu", "a"), ("relu", "b"), ("tanh", "a"), ("gelu", "b"), ("tanh", "b")]
    trials = [
        trial(i, 0.1 * (i + 1), params={"model.activation": first, "model.seed": second})
        for i, (first, second) in enumerate(names)
    ]
    found = neighbours_of(study_of(study(trials, space)))
    assert found.distances.tolist() == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 1, 1])


def test_the_headline_names_the_winner_its_parameters_and_the_gap_to_the_next():
    record = study([trial(0, 0.2), trial(1, 0.1), trial(2, 0.4)])
    text = headline(study_of(record)).replace("\u00a0", " ")
    assert text == (
        "Trial 1 has the lowest val_loss of 3 complete trials: 0.1, with learning_rate 0.001 and batch_size 32. "
        "The second best, trial 0, is 0.1 (100 %) behind."
    )
    assert "This is the best of 3 configurations" in caution(study_of(record))
    assert caution(study_of(study([trial(0, 0.2)]))) == ""


def commands(record):
    found = study_of(record)
    blocks = [*winner_blocks(found), *continue_blocks(found)]
    return [block.text for block in blocks] + [again_command(found)]


def test_the_winner_and_the_study_have_commands_of_their_own():
    trials = [trial(0, 0.2), trial(1, 0.1, params={"model.learning_rate": 0.0012345, "training.batch_size": 64})]
    alone, on, again = commands(study(trials, tags=TAGS | {"best.trial": "7", "best.params": "{}"}))
    assert alone == (
        "python -m tradingbot_exp.train training.epochs=10 model.learning_rate=0.0012345 training.batch_size=64"
    )
    assert on == (
        "python -m tradingbot_exp.train --multirun hpo.pruner=median training.epochs=10 "
        "hpo.study_name=mlp-ibm-1234abcd hpo.num_trials=12"
    )
    assert again == "python -m tradingbot_exp.train --multirun hpo.num_trials=12 hpo.pruner=median training.epochs=10"
    over = study([trial(number, 0.1) for number in range(12)])
    assert "hpo.num_trials=24" in commands(over)[1]  # as many again
    best = '{"model.hidden_layers": [64, 32], "model.learning_rate": 0.1, "training.learning_rate": 0.1}'
    typed = study([trial(3, 0.1)], tags=TAGS | {"best.trial": "3", "best.params": best})
    assert commands(typed)[0].endswith("'model.hidden_layers=[64,32]' model.learning_rate=0.1")


def test_arrays_have_no_command_and_the_winner_has_its_parameters():
    card = {"source": "arrays given to run_hpo_study"}
    record = study([trial(0, 0.1)], artifacts=Artifacts(card=card, overrides=()))
    text, again = commands(record)
    assert text == "config.model.learning_rate = 0.001\nconfig.training.batch_size = 32"
    assert again == ""


def test_a_sweep_given_beside_the_recorded_overrides_is_written_as_hydra_reads_it():
    from tradingbot_exp.hpo.space.space import SearchSpace

    space = {key: entry for key, entry in WIDE_SPACE.items() if key not in ("training.nesterov", "model.units")}
    swept = [f"{key}={sweep_of(entry)}" for key, entry in space.items()]
    assert SearchSpace.parse({}, swept).describe() == {
        key: entry | ({"choices": [64, 16, 32]} if key == "training.batch_size" else {}) for key, entry in space.items()
    }
    record = study([trial(0, 0.1)], space, params={**PARAMS})
    assert "'model.hidden_layers=[64,32],[128]'" in commands(record)[-1]
    assert "batch_size=" not in commands(record)[-1]
