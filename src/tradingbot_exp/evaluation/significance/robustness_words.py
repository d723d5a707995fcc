"""What other seeds and replays say of a study's winner, in a sentence each: for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradingbot_exp.runtime.text import plural


def seeds_in_words(seeds: Mapping[str, Any]) -> str:
    """Say in a sentence what the other seeds gave."""
    values, tried = seeds["values"], len(seeds["seeds"])
    others = plural(tried, "other seed")
    if not values:
        return f"Trained again with {others}, the winner has no finite {seeds['metric']} at all."
    spread = (
        f" ± {seeds['std']:.2g} (from {seeds['min']:.4g} to {seeds['max']:.4g})" if seeds["std"] is not None else ""
    )
    ahead, count = seeds["ahead"], len(values)
    rank = {0: "none", count: f"all {count}" if count > 1 else "it"}.get(ahead, f"{ahead} of {count}")
    failed = f"; {len(seeds['failed'])} of them failed" if seeds["failed"] else ""
    return (
        f"Trained again with {others}, the winner has a {seeds['metric']} of {seeds['mean']:.4g}{spread}{failed}; the "
        f"study's {seeds['chosen']:.4g} is better than {rank}."
    )


def replays_in_words(replays: Mapping[str, Any]) -> str:
    """Say in a sentence what the replays found."""
    count, as_good = len(replays["values"]), replays["as_good"]
    searches = f"{plural(count, 'search', 'searches')} on permuted targets"
    who = "None" if not as_good else f"{as_good}"
    return (
        f"{who} of {searches} found as good a {replays['metric']} as {replays['chosen']:.4g} (p = {replays['p']:.2g})."
    )
