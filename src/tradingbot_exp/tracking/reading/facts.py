"""What is known of a run's code, data, packages and machine, by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradingbot_exp.runtime.text import day

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.run_context import RunContext


def code_facts(run: RunContext) -> dict[str, str]:
    """Return what is known of a run's code, by label."""
    source, left_out = run.recorded("code", "sha256"), run.recorded("git", "left_out_of_patch")
    return _texts(
        {
            "commit": run.commit,
            "branch": run.tag("mlflow.source.git.branch"),
            "uncommitted changes": run.tag("git.dirty"),
            "patch": None if run.patch_sha256 is None else run.patch_sha256[:12],
            "files left out of the patch": ", ".join(map(str, left_out)) if left_out else None,
            "source of tradingbot_exp": source,
            "engine": run.tag("engine"),
        }
    )


def data_facts(run: RunContext) -> dict[str, str]:
    """Return what is known of a run's data, by label: fingerprint, period, rows, and the rest of the data card."""
    card = run.card
    facts: dict[str, Any] = {"fingerprint": run.fingerprint, "rows": card.get("rows")}
    period = card.get("period")
    if isinstance(period, list):
        facts["period"] = " to ".join(day(each) for each in period)
    for block, described in (card.get("split") or {}).items():
        if isinstance(described, Mapping):
            facts[block] = f"{described.get('rows')} rows, {day(described.get('start'))} to {day(described.get('end'))}"
    for name, value in card.items():
        if name not in {"fingerprint", "rows", "period", "split", "statistics"}:
            facts[name.replace("_", " ")] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return _texts(facts)


def package_facts(run: RunContext) -> dict[str, str]:
    """Return the version of each package, and of Python as ``python``; empty if none is recorded."""
    if not run.requirements:
        return {}
    return _texts({"python": run.recorded("python", "version")} | dict(run.requirements))


def hardware_facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """Flatten what ``environment.json`` says of a machine and its settings."""

    def get(block: str, key: str) -> Any:
        return (environment.get(block) or {}).get(key)

    variables = environment.get("variables") or {}
    return _texts(
        {
            "processor": get("hardware", "cpu"),
            "cores": get("hardware", "cores_logical"),
            "memory (GiB)": get("hardware", "memory_gib"),
            "GPUs": ", ".join(get("hardware", "gpus") or []) or None,
            "operating system": get("platform", "system"),
            "architecture": get("platform", "machine"),
            "torch threads": get("torch", "threads"),
            "CUDA": get("torch", "cuda"),
            "deterministic": get("torch", "deterministic"),
            **variables,
        }
    )


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in facts.items() if value is not None}
