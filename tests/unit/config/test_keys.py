"""The facts about a key stand in the schema, and whoever asks for one is told what stands there."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.facts import Facts
from tradingbot_exp.config.finalize import config_sha256
from tradingbot_exp.config.keys import BLOCKS, KEYS, facts_of, set_value, value_of
from tradingbot_exp.config.losses import NUMBERS
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.definition import define
from tradingbot_exp.hpo.space.names import searchable
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.tracking.reading.differences import is_harmless
from tradingbot_exp.tracking.reading.recipe import _is_given

LEAVES = [key for key in KEYS if key not in BLOCKS]
# With each scheme and each position rule some keys of the block are not read.
CHOSEN = ("scheme=walk_forward", "scheme=purged_kfold", *(f"position={rule}" for rule in POSITIONS))
SCHEMES = [compose_config([f"evaluation.{chosen}"]) for chosen in CHOSEN]
# With each loss others of its own numbers.
SCHEMES += [compose_config(["data.target=direction", f"training.loss={loss}"]) for loss in NUMBERS.values()]


def test_every_field_of_the_schema_is_a_key_with_facts() -> None:
    def walk(schema: type, prefix: str = "") -> set[str]:
        hints = get_type_hints(schema)
        own = {f"{prefix}{item.name}": hints[item.name] for item in fields(schema)}
        within = [walk(hint, f"{key}.") for key, hint in own.items() if is_dataclass(hint)]
        return set(own).union(*within)

    assert walk(Config) == set(KEYS)
    assert all(isinstance(facts, Facts) for facts in KEYS.values())
    # A key that takes some values of its type alone says in words which.
    assert [key for key, facts in KEYS.items() if (facts.holds is None) != (not facts.wanted)] == []


@pytest.mark.parametrize("key", LEAVES)
def test_what_a_key_decides_is_what_hash_study_and_comparison_make_of_it(key: str) -> None:
    decides, hashed, defined = KEYS[key].decides, False, False
    for config in SCHEMES:
        other = deepcopy(config)
        set_value(other, key, {"a": 1} if isinstance(value_of(config, key), dict) else "another")
        hashed |= config_sha256(other, "f") != config_sha256(config, "f")
        defined |= define(other, {}, "f") != define(config, {}, "f")
    assert hashed is (decides == "result") is not is_harmless(key)
    # The space is compared as it was read, so that it is given as an argument.
    assert defined is (decides in ("result", "study") and key != "hpo.param_space")
    assert _is_given(key) is (decides in ("result", "data") and not KEYS[key].derived)


def test_a_key_is_searchable_unless_its_field_says_why_not() -> None:
    for key in LEAVES:
        assert (key in set(searchable())) is (not KEYS[key].search)
        if KEYS[key].search:
            with pytest.raises(ConfigError) as caught:
                SearchSpace.parse({key: [1, 2]})
            assert KEYS[key].search in str(caught.value)


def test_a_block_says_for_its_keys_what_they_do_not_say_themselves() -> None:
    assert facts_of("tracking.report").may_change and facts_of("hpo.sampler").may_change
    assert facts_of("data.split.train").search == facts_of("data.split").search != ""
    assert (facts_of("experiment.name").decides, facts_of("experiment.run_name").decides) == ("study", "nothing")
    # Within a mapping the mapping's facts hold; of what is no key nobody knows.
    assert facts_of("experiment.tags.desk") == facts_of("experiment.tags") and facts_of("mine.depth") == Facts()


def test_the_addresses_that_may_hold_passwords_are_known() -> None:
    assert [key for key, facts in KEYS.items() if facts.secret] == ["hpo.storage", "tracking.uri"]
