"""Debian's PostgreSQL for tests: on a free loopback port, as an ordinary user, in a data folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import give_up


@dataclass(frozen=True)
class Server:
    """A running server; everybody on this machine is let in as ``postgres``, without a password."""

    port: int

    def new_database(self) -> str:
        """Make an empty database and give its address."""
        import psycopg

        name = f"test_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(f"{self._uri('postgresql')}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"{self._uri('postgresql+psycopg')}/{name}"

    def _uri(self, scheme: str) -> str:
        return f"{scheme}://postgres@127.0.0.1:{self.port}"


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """Run a server; where that is impossible, skip the test, or fail it in CI."""
    if importlib.util.find_spec("psycopg") is None:
        give_up("psycopg is not installed (pip install 'psycopg[binary]')")
    programs = _programs()
    owner = _ordinary_user()
    # Not below pytest's own folder: as root, that one lets nobody else through.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    data = folder / "data"
    data.mkdir()
    folder.chmod(0o755)
    if owner:
        for path in (folder, data):
            shutil.chown(path, owner["user"], owner["group"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"cwd": folder, "env": environment | {"LC_ALL": "C"}, **owner}
    server: subprocess.Popen[bytes] | None = None
    with (folder / "log.txt").open("wb") as log:
        try:
            subprocess.run(
                [
                    programs / "initdb",
                    "-D",
                    data,
                    "-U",
                    "postgres",
                    "--auth-host=trust",
                    "--auth-local=reject",
                    "-E",
                    "UTF8",
                ],
                stdout=log,
                stderr=log,
                check=True,
                **options,
            )
            # What is written need not survive a crash of the machine.
            settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port)]
                + [word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
                stdout=log,
                stderr=log,
                **options,
            )
            _wait(server, port, folder / "log.txt")
            yield Server(port)
        finally:
            if server is not None:
                server.send_signal(signal.SIGINT)  # close all connections, then end
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.send_signal(signal.SIGQUIT)
                    server.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of the newest server that Debian's packages have installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parents[1].name))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        give_up("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def _ordinary_user() -> Mapping[str, Any]:
    """Whom to run the server as: it refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
