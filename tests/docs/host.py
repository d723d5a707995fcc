"""Runs what the documentation shows: each command in a fork of this process, which has loaded what is heavy.

Reads a JSON list of steps from standard input, each with `folder`, `kind` (``python`` or ``bash``), `text` and `shown`,
and writes a JSON list with `status` and `output` of each. By itself, a command spends most of its time importing torch.

`shown` are the run ids in the output that the page shows of a step: where a later step of the page names one of them,
or its beginning, the id that the step gave here takes its place.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

PACKAGE = "tradingbot_exp"
RUN_ID = re.compile(r"\((?:id|run) ([0-9a-f]{32})\)")
_HEXADECIMAL = re.compile(r"\b[0-9a-f]{8,32}\b")


def run_step(folder: Path, kind: str, text: str) -> tuple[int, str]:
    """Run one step in `folder`; give its exit status and what it printed."""
    if kind == "python":
        program = compile(text, "snippet", "exec")
        return forked(folder, ["snippet.py"], lambda: exec(program, {"__name__": "__main__"}))  # noqa: S102 - our own
    words = shlex.split(text, comments=True)
    if words[0] == "python" and words[1] == "-m" and words[2].partition(".")[0] == PACKAGE and "|" not in words:
        module = words[2] if "." in words[2] else f"{PACKAGE}.__main__"
        return forked(folder, [module, *words[3:]], lambda: runpy.run_module(module, {}, "__main__", alter_sys=True))
    if words[0] == "python" and words[1].endswith(".py"):
        return forked(folder, words[1:], lambda: runpy.run_path(words[1], {}, "__main__"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", text], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def with_ids(text: str, ids: Mapping[str, str]) -> str:
    """Put the ids of this store in the place of those that the page shows, or of their beginnings."""

    def replaced(found: re.Match[str]) -> str:
        return next((own[: len(found[0])] for shown, own in ids.items() if shown.startswith(found[0])), found[0])

    return _HEXADECIMAL.sub(replaced, text)


def forked(folder: Path, arguments: list[str], body: Callable[[], object]) -> tuple[int, str]:
    """Run `body` in a child process, as a command with these arguments."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os._exit(_as_command(folder, arguments, body, output.fileno()))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode()


def _as_command(folder: Path, arguments: list[str], body: Callable[[], object], output: int) -> int:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.argv, sys.path[0] = arguments, str(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    status = 0
    try:
        body()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def main() -> None:
    """Run the steps that come from standard input."""
    import alembic.command  # noqa: F401
    import git  # noqa: F401
    import hydra.experimental.callback  # noqa: F401
    import jinja2  # noqa: F401
    import mlflow.pyfunc
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import optuna  # noqa: F401
    import pandas  # noqa: F401
    import plotly.graph_objects
    import sklearn.preprocessing  # noqa: F401
    import skops.io  # noqa: F401
    import sqlalchemy.orm
    import torch._dynamo  # noqa: F401

    sqlalchemy.orm.configure_mappers()
    plotly.graph_objects.Figure().add_scatter().update_layout(template="plotly_white")
    results = []
    known: dict[str, dict[str, str]] = {}
    for step in json.load(sys.stdin):
        ids = known.setdefault(step["folder"], {})
        status, output = run_step(Path(step["folder"]), step["kind"], with_ids(step["text"], ids))
        ids.update(zip(step["shown"], RUN_ID.findall(output), strict=False))  # a page shows the first of them
        results.append({"status": status, "output": output})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
