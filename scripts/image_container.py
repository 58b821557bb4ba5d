"""Runs an image's files in a container of runc's, as hosts run images: for scripts/try_image.py."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from scripts.local_server import ROOT

STOP_LIMIT_S: Final = 10.0  # then `docker stop` kills


class BrokenPromiseError(Exception):
    """The image does not do what the documents say."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way in which a host runs the image.

    Attributes:
        name: What it stands for.
        uid: Of the user and the group.
        is_read_only: Whether nothing can be written but /tmp and /dev/shm.
        variables: Set beside the image's own; None takes one away.
    """

    name: str
    uid: int
    is_read_only: bool
    variables: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """The image as it lies in WORK.

    Attributes:
        work: That folder.
        config: User, command, environment and so on, as OCI names them.
    """

    work: Path
    config: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """Its files."""
        return self.work / "root"

    def spec(self, trial: Trial, arguments: Sequence[str]) -> dict[str, Any]:
        """The container of a trial, as OCI writes it down."""
        environ = dict(line.split("=", 1) for line in self.config["Env"]) | dict(trial.variables)
        resources = yaml.safe_load((ROOT / "openenv.yaml").read_text())["validation"]["resources"]
        loose = {"type": "tmpfs", "source": "tmpfs"}
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root.resolve()), "readonly": trial.is_read_only},
            "process": {
                "user": {"uid": trial.uid, "gid": trial.uid},
                "args": list(arguments),
                "env": [f"{name}={value}" for name, value in environ.items() if value is not None],
                "cwd": self.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "options": ["nosuid", "mode=755"]} | loose,
                {"destination": "/dev/shm", "options": ["nosuid", "mode=1777", "size=64m"]} | loose,
                {"destination": "/tmp", "options": ["nosuid", "noexec", "mode=1777"]} | loose,
            ],
            "linux": {
                # The network is this machine's: the server is asked over its loopback.
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "resources": {
                    "memory": {"limit": resources["memory_mb"] << 20},
                    "cpu": {"quota": 100_000 * resources["cpu"], "period": 100_000},
                    "pids": {"limit": 256},
                },
            },
        }

    @contextmanager
    def running(self, trial: Trial, arguments: Sequence[str]) -> Iterator[Container]:
        """The command in a container, which is gone at the end."""
        bundle = self.work / "bundle"
        bundle.mkdir(exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(self.spec(trial, arguments)))
        name, log_path = f"llmserve-{os.getpid()}-{time.monotonic_ns()}", bundle / "log"
        with log_path.open("wb") as log:
            process = psutil.Popen(
                ["runc", "run", "--bundle", str(bundle), name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Container(name, process, log_path)
        finally:
            if process.poll() is None:
                subprocess.run(["runc", "kill", name, "KILL"], check=False, capture_output=True)
                process.wait(timeout=30)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs.

    Attributes:
        name: By which runc knows it.
        process: The runc that waits for it and ends with its status.
        log_path: Where its output goes.
    """

    name: str
    process: psutil.Popen
    log_path: Path

    @property
    def log(self) -> str:
        """The end of its output."""
        return self.log_path.read_text(errors="replace")[-3000:]

    def memory_mb(self) -> float:
        """Resident memory of all its processes, in 10^6 bytes."""
        return sum(each.memory_info().rss for each in self.process.children(recursive=True)) / 1e6

    def waited_s(self) -> float:
        """Seconds that its first process was ready to run and had no CPU; 0 if it is gone.

        On a machine that others use these are not the image's: on a free one they would be none.
        """
        first = self.process.children()
        try:
            told = Path(f"/proc/{first[0].pid}/schedstat").read_text() if first else "0 0 0"
        except OSError:
            return 0.0
        return int(told.split()[1]) / 1e9

    def stop(self) -> tuple[float, int]:
        """Seconds from SIGTERM to its end, without waiting for a CPU, and its exit status.

        Raises:
            BrokenPromiseError: If it runs on.
        """
        began_s, before_s = time.monotonic(), self.waited_s()
        subprocess.run(["runc", "kill", self.name, "TERM"], check=True)
        waited_s = 0.0
        while self.process.poll() is None:
            waited_s = max(waited_s, self.waited_s() - before_s)
            if time.monotonic() - began_s - waited_s > STOP_LIMIT_S:
                raise BrokenPromiseError(f"runs on {STOP_LIMIT_S:g} s after SIGTERM")
            time.sleep(0.02)
        return time.monotonic() - began_s - waited_s, int(self.process.returncode)
