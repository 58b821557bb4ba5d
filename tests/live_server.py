"""The real server in a process of its own, on a free port of this machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
START_LIMIT_S = 600.0  # of a machine whose CPUs others use

ACTION = {
    "batch_cap": 32,
    "kv_budget_fraction": 1.0,
    "speculation_depth": 0,
    "quantization_tier": "FP16",
    "prefill_decode_split": False,
    "priority_routing": False,
}


@contextmanager
def running_server(log_path: Path, **variables: str) -> Iterator[str]:
    """The URL of a server started with these environment variables; stopped at the end."""
    port = free_port()
    environ = os.environ | {"LLMSERVE_HOST": "127.0.0.1", "PORT": str(port)} | variables
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.app"],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, log_path)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log_path.read_text()[-4000:]}")


def error_of(response):
    """The error in a response, which must have the one shape that all errors have."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return body["error"]
