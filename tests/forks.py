"""Real commands as forks of this process, which has loaded what is heavy: by itself, a command mostly imports torch.

Each command is a process of its own, with its directory, environment, arguments and streams. Of this project nothing is
loaded before it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

HEAVY = (
    *("alembic.command", "git", "hydra.experimental.callback", "jinja2", "mlflow.pyfunc", "optuna", "pandas"),
    *("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store"),
    *("sklearn.preprocessing", "skops.io", "torch._dynamo"),
)


def load() -> None:
    """Import the libraries that commands import, and make what those make at first use."""
    import plotly.graph_objects
    import sqlalchemy.orm

    for name in HEAVY:
        importlib.import_module(name)
    sqlalchemy.orm.configure_mappers()
    plotly.graph_objects.Figure().add_scatter().update_layout(template="plotly_white")


def serve(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request that comes; return, in that process, with the request and its streams.

    The process ID and in the end the exit status are written to the fourth descriptor of a request.
    """
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not request:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            command = os.fork()
            *streams, answers = descriptors
            if command == 0:
                os.close(answers)
                return json.loads(request), streams
            os.write(answers, f"{command}\n".encode())
            _, status = os.waitpid(command, 0)
            with contextlib.suppress(BrokenPipeError):  # nobody asks any more
                os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Take the directory, environment and streams of a command, and run what its arguments name."""
    import numpy as np

    np.random.seed()  # or all commands would draw the same
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["own_group"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[1:1] = [place for place in request["env"].get("PYTHONPATH", "").split(os.pathsep) if place]
    first, *rest = request["arguments"]
    if first == "-m":
        module, *words = rest
        sys.argv, sys.path[0] = [module, *words], request["cwd"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own
    else:
        sys.argv, sys.path[0] = request["arguments"], str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    load()
    assert "tradingbot_exp" not in sys.modules
    gc.freeze()
    become(*serve(socket.socket(fileno=int(sys.argv[1]))))
