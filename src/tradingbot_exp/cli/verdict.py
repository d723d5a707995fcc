"""The command ``verdict RUN``: what a study said of its winner, and with ``--require real`` a gate for pipelines."""

from __future__ import annotations

import argparse
import re
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.cli.output import json_text, require_free, written
from tradingbot_exp.recorded.verdict import read_verdict
from tradingbot_exp.runtime.text import one_line
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.text import WIDTH

if TYPE_CHECKING:
    from tradingbot_exp.recorded.verdict import RecordedVerdict

NOT_SHOWN, CANNOT_BE_TOLD = 3, 4
_SUITE = "tradingbot_exp verdict"
# How what this command writes begins.
_MARK = re.escape(f"<?xml version='1.0' encoding='utf-8'?>\n<testsuite name=\"{_SUITE}\"")


def run(options: argparse.Namespace) -> int:
    """Print the verdict; return 0, or with ``--require`` 3 where it is not met and 4 where nothing can be told."""
    found = read_verdict(options.run, options.tracking_uri)
    answer = _status(found, allow_unchecked=options.allow_unchecked)
    status = answer if options.require else 0
    if options.junit is not None:
        _write_junit(Path(options.junit), found, answer, force=options.force)
    text = _as_json(found, status) if options.json else _as_text(found)
    if options.require and not options.json:
        text += f"\ngate     {'not passed: ' if status else 'passed'}{_why(found, answer)}\n"
    say(text)
    return status


def _why(found: RecordedVerdict, answer: int) -> str:
    """Say why a gate that asks for a real winner is not passed; empty if it is."""
    if not answer:
        return ""
    if found.word != "real":
        return f"the verdict is '{found.word}'"
    accepts = "; --allow-unchecked accepts that" if found.inputs == "not checked" else ""
    return f"the inputs are '{found.inputs}', and nobody can see whether they know their future{accepts}"


def _status(found: RecordedVerdict, *, allow_unchecked: bool) -> int:
    """Return what a gate that asks for a real winner answers."""
    if found.word == "cannot be told":
        return CANNOT_BE_TOLD
    passes = found.inputs == "checked" or (found.inputs == "not checked" and allow_unchecked)
    return 0 if found.word == "real" and passes else NOT_SHOWN


def _as_text(found: RecordedVerdict) -> str:
    lines = [f"{one_line(found.name)}  (run {found.run_id})", f"verdict  {found.word}", f"inputs   {found.inputs}", ""]
    for sentence in (found.headline, *found.reasons):
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _as_json(found: RecordedVerdict, status: int) -> str:
    named = {name: getattr(found, name) for name in ("run_id", "name", "word", "inputs", "headline", "reasons")}
    return json_text({**found.whole, **named, "status": status})


def _write_junit(path: Path, found: RecordedVerdict, status: int, *, force: bool) -> None:
    """Write one test case, whether the winner is real: passed, failed (not shown), or in error (cannot be told).

    Raises
    ------
    ReportError
        The file cannot be written, or is there and no such file.
    """
    suite = ET.Element("testsuite", name=_SUITE, tests="1")
    suite.set("failures", str(int(status == NOT_SHOWN)))
    suite.set("errors", str(int(status == CANNOT_BE_TOLD)))
    case = ET.SubElement(suite, "testcase", classname=found.name, name="the winner is real")
    told = "\n".join([found.headline, *found.reasons, f"inputs: {found.inputs}", f"run: {found.run_id}"])
    text = "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in told)
    if status:
        tag = "failure" if status == NOT_SHOWN else "error"
        what = found.word if found.word != "real" else f"inputs {found.inputs}"
        ET.SubElement(case, tag, message=f"{_why(found, status)}. {found.headline}", type=what).text = text
    else:
        ET.SubElement(case, "system-out").text = text
    require_free("--junit", path, "verdict", _MARK, force=force)
    with written("--junit", path):
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
