"""Starts the tiny vLLM of setup_vllm_cpu.sh for the scripts that measure it, and ends it."""

from __future__ import annotations

import argparse
import os
import signal
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

from scripts.local_server import ROOT, free_port

SERVE: Final = ROOT / "scripts" / "serve_vllm_cpu.sh"
START_LIMIT_S: Final = 240.0
STOP_LIMIT_S: Final = 30.0
TERMINATED: Final = 143  # exit status
# Before other sessions of this machine, where the kernel groups by session and the user may.
SESSION_NICENESS: Final = -20


@dataclass(slots=True)
class VllmProcess:
    """A vLLM that serves; owned by `running_vllm` or by who started it.

    Attributes:
        port: Of the API; the control channel is at the next one.
        process: The parent of vLLM's processes.
        start_s: How long it took to answer.
    """

    port: int
    process: subprocess.Popen[bytes]
    start_s: float

    @property
    def base_url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def control_url(self) -> str:
        """Of the control channel."""
        return f"http://127.0.0.1:{self.port + 1}"

    def stop(self) -> None:
        """End it as an operator would; hard, if that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End all its processes at once, as a crash does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=STOP_LIMIT_S)


def start_vllm(
    venv: Path, model: Path, log_path: Path, *, port: int | None = None, flags: Sequence[str] = ()
) -> VllmProcess:
    """A vLLM that answers /health.

    Args:
        venv: As setup_vllm_cpu.sh made it.
        model: The same.
        log_path: Its output is appended there.
        port: A free one if left out.
        flags: More options of vllm serve.

    Raises:
        RuntimeError: If it does not start; the message has the end of its output.
    """
    chosen = _free_pair() if port is None else port
    began_s = time.monotonic()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(SERVE), str(venv), str(model), str(chosen), *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = VllmProcess(chosen, process, START_LIMIT_S)
    try:
        prefer(process.pid)
        while process.poll() is None and time.monotonic() - began_s < START_LIMIT_S:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{chosen}/health", trust_env=False).is_success:
                    server.start_s = time.monotonic() - began_s
                    return server
            time.sleep(0.5)
        end = log_path.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"vLLM did not start:\n{end}")
    except BaseException:
        # Also where this process is told to stop meanwhile: nobody else knows of it yet.
        server.kill()
        raise


def _free_pair() -> int:
    """A free port whose next one, for the control channel, is free as well."""
    while True:
        port = free_port()
        with socket.socket() as neighbour, suppress(OSError):
            neighbour.bind(("127.0.0.1", port + 1))
            return port


@contextmanager
def running_vllm(
    venv: Path, model: Path, log_path: Path, *, flags: Sequence[str] = ()
) -> Iterator[VllmProcess]:
    """A vLLM on a free port; stopped at the end, on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    server = start_vllm(venv, model, log_path, flags=flags)
    try:
        yield server
    finally:
        server.stop()


def prefer(process_id: int) -> None:
    """Let the session of this process go before others, so that they do not starve a measurement.

    Needs root and a Linux that groups by session; without them nothing changes.
    """
    with suppress(OSError):
        Path(f"/proc/{process_id}/autogroup").write_text(str(SESSION_NICENESS))


def prefer_myself() -> None:
    """The same for this process, in a session of its own where it may have one."""
    with suppress(OSError):
        os.setsid()
    prefer(os.getpid())


def add_vllm_options(parser: argparse.ArgumentParser, *, is_required: bool = True) -> None:
    """The options that name the environment and the model."""
    for name, text in (("--venv", "as setup_vllm_cpu.sh made it"), ("--model", "the tiny model")):
        parser.add_argument(name, type=Path, required=is_required, help=text)
    parser.add_argument("--log", type=Path, default=Path("/tmp/vllm.log"), help="of vLLM")
