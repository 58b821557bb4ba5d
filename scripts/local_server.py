"""Starts servers on free ports of this machine for the scripts that try them, and ends them."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
START_LIMIT_S: Final = 1800.0  # of a machine whose CPUs others use
STOP_LIMIT_S: Final = 60.0
OURS: Final = ("-m", "server.app")
# Below those that Linux gives to outgoing connections, one of which might take the port of a server
# that starts slowly.
FIRST_PORT: Final = 20_000
PORTS: Final = 32_768 - FIRST_PORT


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server process of this machine.

    Attributes:
        url: Such as http://127.0.0.1:40000.
        process: It is running.
        log_path: Where its output goes.
    """

    url: str
    process: psutil.Popen
    log_path: Path

    @property
    def socket_url(self) -> str:
        """The URL of /ws."""
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def cpu_s(self) -> float:
        """CPU seconds that the process has used so far, in all its threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Resident memory in 10^6 bytes."""
        return float(self.process.memory_info().rss) / 1e6

    def open_files(self) -> int:
        """Open file descriptors, sockets included."""
        return int(self.process.num_fds())


@contextmanager
def local_server(
    log_path: Path,
    arguments: Sequence[str] = OURS,
    wrapper: Sequence[str] = (),
    **variables: str,
) -> Iterator[LocalServer]:
    """A server that answers /health; stopped at the end.

    Args:
        log_path: Its output goes there.
        arguments: Of the Python that runs it.
        wrapper: A command that becomes the one that follows it.
        **variables: Of its environment, beside those of this process; PORT is a free one if it is
            left out.

    Raises:
        RuntimeError: If it does not start; the message has the end of its output.
    """
    port = int(variables.get("PORT", free_port()))
    listening = {"LLMSERVE_HOST": "127.0.0.1", "PORT": str(port)}
    with log_path.open("wb") as log:
        process = psutil.Popen(
            [*wrapper, sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | listening | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        server = LocalServer(f"http://127.0.0.1:{port}", process, log_path)
        try:
            _wait_until_healthy(server)
            yield server
        finally:
            with suppress(psutil.NoSuchProcess):  # it was killed, which is what is tried
                process.terminate()
            process.wait(timeout=STOP_LIMIT_S)


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no outgoing connection is given."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _wait_until_healthy(server: LocalServer) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    end = server.log_path.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"the server did not start:\n{end}")
