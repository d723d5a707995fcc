"""Where a study starts from what another one has found: `hpo.prior`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tradingbot_exp.config.overrides import quote
from tradingbot_exp.errors import ConfigError, RunError
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.terminal.output import say
from tradingbot_exp.tracking.store.kinds import Use, require
from tradingbot_exp.tracking.store.lookup import find_run

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace
    from tradingbot_exp.tracking.store.store import Store

_KEY = "hpo.prior"
_SHOWN = 60  # letters of a value in a message
_PRIOR = Use(("study",), "a study", key=_KEY)


class Prior(NamedTuple):
    """The best trial of another study, as this one can try it.

    Attributes
    ----------
    run_id : str
        The other study's.
    point : dict of str to object
        Encoded values by canonical name; what is missing is drawn.
    """

    run_id: str
    point: dict[str, Any]


def find_prior(config: Config, space: SearchSpace, store: Store) -> Prior | None:
    """Find the best trial of the study that `hpo.prior` names, and say what of it is tried; None if it names none.

    What the other study did not search, or found outside of this space, is drawn. No value of a record is taken that
    the space does not have.

    Raises
    ------
    ConfigError
        None of its values is in the space.
    RunError
        There is no such study, or it has no best trial on record.
    """
    if config.hpo.prior is None:
        return None
    try:
        found = find_run(store, config.hpo.prior, _PRIOR.kinds)
    except RunError as error:
        raise RunError(f"{_KEY}: {error}") from error
    run = require(store, found, _PRIOR)
    tags, named = run.data.tags, f"the run {run.info.run_id} ({run.info.run_name})"
    best = _values(tags.get("best.params"))
    if not best:
        raise RunError(
            f"{_KEY}: {named} is a study without a best trial on record. Let it end first, or name another study."
        )
    point, drawn = dict[str, Any](), list[str]()
    for name, parameter in space.parameters.items():
        try:
            point[name] = parameter.encode(best[name], f"{_KEY}.{name}")
        except (KeyError, ConfigError):
            drawn.append(name)
    if not point:
        shared = ", ".join(f"{name}={quote(best[name])[:_SHOWN]}" for name in drawn if name in best)
        raise ConfigError(
            f"{_KEY}: of the best trial of {named}, no value is in this study's space: it has "
            f"{shared or 'none of its keys'}, and the space is {space.describe()}. "
            f"Widen hpo.param_space, or leave {_KEY} out."
        )
    tried = ", ".join(f"{name}={best[name]}" for name in point)
    rest = f"; {listed(drawn)}, of which it has no value in the space, drawn" if drawn else ""
    say(f"Trial {tags.get('best.trial', '?')} of {named} is tried first: {tried}{rest}.\n")
    return Prior(str(run.info.run_id), point)


def _values(text: str | None) -> dict[str, Any]:
    """Read values by configuration key; none of what is no record of them."""
    try:
        values = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
