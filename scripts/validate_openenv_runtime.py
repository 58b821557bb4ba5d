"""Runs `openenv validate`'s runtime level (0.10) against a server on this machine, without Docker.

`openenv validate` starts its subject in a container. Here a copy of the project gets the
declaration that level needs, and OpenEnv's own runner is given a provider that starts the copy's
server as a plain process. Prints one line per check; exits 1 if an implemented check fails.

Run: python scripts/validate_openenv_runtime.py
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from openenv.validation import CheckStatus, ExecResult, Level, ProviderCapability, run_validation
from openenv.validation.manifest import ExecutionDeclaration
from openenv.validation.runtime.contracts import LaunchSpec

ROOT = Path(__file__).resolve().parents[1]
PLAN_PATH = "validation/runtime.json"
PLAN = {
    "plan_schema_version": "1",
    "reset": {"episode_id": "validation", "seed": 7, "options": {"task_id": "static_workload"}},
    "actions": [
        {
            "batch_cap": batch_cap,
            "kv_budget_fraction": 0.9,
            "speculation_depth": 0,
            "quantization_tier": "FP16",
            "prefill_decode_split": False,
            "priority_routing": False,
        }
        for batch_cap in (1, 8, 64, 256, 512)
    ],
}
START_LIMIT_S = 180.0
NOT_WRITTEN_YET = "grader not implemented in this build"


class LocalSubject:
    """A server process behind OpenEnv's protocol of a running subject."""

    def __init__(self, process: subprocess.Popen[bytes], base_url: str, log_path: Path) -> None:
        self._process, self._log_path = process, log_path
        self.base_url = base_url

    def inspect(self) -> dict[str, Any]:
        """What the report says about the subject."""
        return {"process": self._process.pid, "running": self._process.poll() is None}

    def logs(self, max_bytes: int = 65_536) -> str:
        """The end of what the server wrote."""
        return self._log_path.read_text(errors="replace")[-max_bytes:]

    def exec(self, argv: list[str], timeout_s: float) -> ExecResult:
        """A command run beside the server."""
        began_s = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
        return ExecResult(done.returncode, done.stdout, done.stderr, time.monotonic() - began_s)

    def stop(self) -> None:
        """Stop the server and wait until it is gone."""
        self._process.terminate()
        self._process.wait(timeout=30)


class LocalProvider:
    """Starts the subject as a process of this machine: nothing is isolated from anything."""

    name = "local-process"
    # The runner asks for an image builder; here building is doing nothing.
    capabilities = frozenset({ProviderCapability.EXEC, ProviderCapability.IMAGE_BUILD})
    supported_network_modes = frozenset({"public"})

    def __init__(self, root: Path, log_path: Path) -> None:
        self._root, self._log_path = root, log_path

    def build(self, root: Path, execution: ExecutionDeclaration) -> str:  # noqa: ARG002
        """A placeholder: there is no image."""
        return "sha256:" + "0" * 64

    def start(self, spec: LaunchSpec) -> LocalSubject:
        """A server that answers /health."""
        port = _free_port()
        environ = os.environ | spec.env_vars
        environ |= {"PORT": str(port), "LLMSERVE_HOST": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
        with self._log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "server.app"],
                cwd=self._root,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        subject = LocalSubject(process, f"http://127.0.0.1:{port}", self._log_path)
        _wait_until_healthy(subject)
        return subject


def main() -> int:
    """Validate a copy of the project; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "llmserve_env"
        copy_project(copy)
        _declare_execution(copy)
        provider = LocalProvider(copy, Path(folder) / "server.log")
        report = run_validation(copy, max_level=Level.RUNTIME, provider=provider)
    failed = False
    for result in report.results:
        is_missing_in_openenv = NOT_WRITTEN_YET in result.evidence
        failed |= result.status in (CheckStatus.FAIL, CheckStatus.ERROR)
        note = "" if result.status is CheckStatus.PASS else "; ".join(map(str, result.evidence))
        if not is_missing_in_openenv:
            print(f"{result.status.value:5} {result.check_id} {note}")
    print(f"verdict {report.verdict.value}")
    return int(failed)


def copy_project(target: Path) -> None:
    """Copy what git tracks, and what it would track, to an empty folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _declare_execution(root: Path) -> None:
    manifest = root / "openenv.yaml"
    text = manifest.read_text()
    declared = f"validation:\n  execution:\n    probe_path: {PLAN_PATH}\n"
    manifest.write_text(text.replace("validation:\n", declared, 1))
    plan_path = root / PLAN_PATH
    plan_path.parent.mkdir(exist_ok=True)
    plan_path.write_text(json.dumps(PLAN))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(subject: LocalSubject) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s and subject.inspect()["running"]:
        try:
            opener.open(f"{subject.base_url}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the server did not start:\n{subject.logs(4000)}")


if __name__ == "__main__":
    sys.exit(main())
