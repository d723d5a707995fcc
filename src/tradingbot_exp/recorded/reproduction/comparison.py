"""Whether a run made again is the same run, and what the likely cause is if it is not; no store, no process."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tradingbot_exp.runtime.text import at_most
from tradingbot_exp.tracking.reading.differences import Row, differing, numeric_first, same, touched
from tradingbot_exp.tracking.reading.facts import hardware_facts, package_facts
from tradingbot_exp.tracking.reading.recipe import altered_keys

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.recipe import Recipe
    from tradingbot_exp.tracking.reading.run_context import RunContext

# Metrics that follow from the network's outputs without a jump, and so are as near as these are. The sign of a
# forecast, and what follows from it, may jump.
_SMOOTH = ("train_loss", "val_loss", "final_loss", "best_val_loss", "val_mse", "val_mae")
# Below this, a difference is rounding around zero.
_TINY = 1e-12
Points = Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class Cause:
    """Something that was not the same, of the kind code, packages, hardware, seed or configuration."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Difference:
    """A metric at a step: its value then, and now; None where there is none."""

    metric: str
    step: int
    then: float | None
    now: float | None


@dataclass(frozen=True)
class Comparison:
    """What came of making a run again.

    Attributes
    ----------
    result : str
        ``identical``, ``equal within BOUND`` (relative), or ``different``.
    points, metrics : int
        Values and metrics compared.
    first : Difference or None
        The first that differs beyond the bound: of the lowest epoch, else of the metrics of the whole run.
    differing : int
        How many values do.
    worst : float
        The largest relative difference among the metrics that the bound is for.
    causes : tuple of Cause
        What was not the same, the likeliest first. There may be some although the metrics are identical.
    notes : tuple of str
        What else a reader has to know.
    """

    result: str
    points: int
    metrics: int
    first: Difference | None = None
    differing: int = 0
    worst: float = 0.0
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def is_reproduced(self) -> bool:
        """Whether the run was made again, exactly or within its bound."""
        return self.result != "different"

    @property
    def summary(self) -> str:
        """One line for a tag."""
        found = "; ".join(map(str, self.causes))
        if self.first is None:
            return self.result + (f"; not the same: {found}" if found else "")
        cause = f"likely cause {found}" if found else "no cause on record"
        return f"different: {self.first.metric} at step {self.first.step}; {cause}"


def bound_of(engine: str, precision: str) -> float:
    """Return the relative difference that a run made again may have: none, but for a model that was trained in a stack.

    A stack gives the same bits for many networks, not for all: see `tradingbot_exp.training.stack`. The bounds are
    those of losses after 50 epochs: 5e-3 in float32, where torch's own two forms of Adam differ by 4e-3, and 1e-9 in
    float64.
    """
    if engine != "stacked":
        return 0.0
    return 1e-9 if precision == "float64" else 5e-3


def compare_points(then: Points, now: Points, bound: float, *, is_whole: bool = True) -> Comparison:
    """Compare every metric at every step.

    Parameters
    ----------
    then, now : mapping of (metric, step) to value
    bound : float
        Relative; 0 asks for the same bits. Above 0, only metrics that cannot jump are held to it, unless all are
        identical.
    is_whole : bool
        False if the run ended early: metrics that only the new run has do not count.
    """
    keys = set(then) | (set(now) if is_whole else set())
    if bound > 0 and not all(same(then.get(key), now.get(key)) for key in keys):
        keys = {key for key in keys if key[0] in _SMOOTH}
    order = sorted(keys, key=lambda key: (key[1] == 0, key[1], key[0]))  # step 0: of the whole run
    worst, apart = 0.0, []
    for key in order:
        a, b = then.get(key), now.get(key)
        if same(a, b):
            continue
        distance = math.inf if a is None or b is None or not math.isfinite(a - b) else abs(a - b) / max(abs(a), _TINY)
        worst = max(worst, distance)
        if distance > bound:
            apart.append(Difference(key[0], key[1], a, b))
    result = "different" if apart else f"equal within {bound:g}" if worst > 0 else "identical"
    metrics = len({name for name, _ in order})
    return Comparison(result, len(order), metrics, apart[0] if apart else None, len(apart), worst)


def package_causes(made: RunContext, now: Mapping[str, str]) -> list[Cause]:
    """Compare the recorded packages, Python among them, with those at hand."""
    then = package_facts(made)
    rows = numeric_first(differing([then, now])) if then else []
    return [Cause("packages", _listed(rows))] if rows else []


def code_causes(made: RunContext, again: RunContext | None = None) -> list[Cause]:
    """Say in what the code that was run is not the code of the run, as far as that was recorded."""
    found = []
    recorded, kept = made.recorded("git", "patch_sha256"), made.patch or b""
    if recorded is not None and recorded != hashlib.sha256(kept).hexdigest():
        files = ", ".join(touched(kept.decode("utf-8", "replace"))) or "no file"
        found.append(f"the patch in the artifacts is not the one that the run was made with (it touches {files})")
    elif made.is_dirty and not kept and recorded is None:
        found.append("the run had uncommitted changes, and they are not among its artifacts")
    left_out = made.recorded("git", "left_out_of_patch")
    if left_out:
        found.append(f"files that the patch does not hold: {', '.join(map(str, left_out))}")
    if again is not None:
        for what, then, now in (
            ("the source of tradingbot_exp", made.recorded("code", "sha256"), again.recorded("code", "sha256")),
            ("the model's version", made.run.tags.get("model.version"), again.run.tags.get("model.version")),
        ):
            if then and now and then != now:
                found.append(f"{what} was {then} and is {now}")
    return [Cause("code", "; ".join(found))] if found else []


def causes_of(recipe: Recipe, again: RunContext) -> tuple[Cause, ...]:
    """Name what was not the same when a run was made again, as `again`; the likeliest cause first."""
    made = recipe.made
    found = code_causes(made, again)
    then, now = (each.run.tags.get("plugins.sha256") for each in (made, again))
    if then and now and then != now:
        found.insert(
            0, Cause("code", "the source of the plugins is another one (plugins.sha256), which no commit keeps")
        )
    keys = altered_keys(made, recipe.tree or {})
    if keys:
        kind = "seed" if keys[0] == "seed" else "configuration"
        found.append(Cause(kind, f"config/config.yaml is not what the run has as params: {', '.join(keys)}"))
    if again.requirements:
        found += package_causes(made, package_facts(again))
    if made.environment and again.environment:
        rows = differing([hardware_facts(each.environment) for each in (made, again)])
        found += [Cause("hardware", _listed(rows))] if rows else []
    return tuple(found)


def _listed(rows: Sequence[Row], most: int = 5) -> str:
    words = [f"{row.name} was {row.values[0] or 'not there'}, is {row.values[1] or 'not there'}" for row in rows]
    return at_most(words, most, "; ")
