"""Builds wheel and source archive, and uses the wheel as a stranger does: elsewhere, without torch.

    uv run python -m scripts.verify_wheel [--keep FOLDER]

The wheel holds every file of its packages that git tracks, with licences; the source archive builds
the same wheel, byte for byte; in an environment of its own, with the dependencies that the index
offers today, every line of USES ends with 0 in an empty folder. Needs uv and a package index.
Exits with 1 at the first thing that is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scripts.validate_openenv_runtime import ROOT

LICENCES: Final = ("LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt")
ABSENT: Final = ("torch", "stable-baselines3", "pytest")
GYMNASIUM: Final = """\
import gymnasium, llmserve_env
env = gymnasium.make("llmserve/Bursty-v1", action_mode="multidiscrete")
env.reset(seed=7)
print(env.step(env.action_space.sample())[1])
"""
# {server} is the URL of the wheel's own server.
USES: Final[tuple[tuple[str, ...], ...]] = (
    ("llmserve", "--version"),
    ("llmserve", "tasks", "--json"),
    ("llmserve", "agents", "--json"),
    ("llmserve", "demo", "--seconds", "0"),
    ("llmserve", "run", "--agent", "ppo", "--task", "bursty_workload", "--save", "episode.jsonl"),
    ("llmserve", "grade", "episode.jsonl", "--json"),
    ("llmserve", "compare", "heuristic", "ppo", "--task", "static_workload", "--episodes", "3"),
    ("python", "-m", "llmserve_env", "tasks"),
    ("python", "-c", GYMNASIUM),
    ("llmserve", "doctor", "--url", "{server}", "--max-latency-ms", "5000"),
    ("llmserve", "run", "--agent", "reactive", "--url", "{server}"),
    ("python", "-m", "server.baseline_inference", "--task-id", "static_workload"),
)
START_LIMIT_S: Final = 300


class BadWheelError(Exception):
    """The wheel is not as it should be."""


def build(folder: Path) -> Path:
    """The wheel, built from the tree and again from the source archive.

    Raises:
        BadWheelError: If the two differ, or a file is missing or should not be there.
    """
    for place, source in (("", ()), ("again", ("--wheel",))):
        given = [str(next(folder.glob("*.tar.gz")))] if source else []
        _run(["uv", "build", "--quiet", "--out-dir", str(folder / place), *source, *given], ROOT)
    wheel = next(folder.glob("*.whl"))
    if wheel.read_bytes() != (folder / "again" / wheel.name).read_bytes():
        raise BadWheelError("the source archive builds another wheel")
    _check_contents(wheel)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        names = archive.getnames()
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; the source archive's is the same")
    unwanted = [name for name in names if "/.venv/" in name or name.endswith("/.env")]
    if unwanted:
        raise BadWheelError(f"the source archive holds {unwanted[0]}")
    return wheel


def _check_contents(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    target = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = [*target["packages"], *target["force-include"]]
    tracked = set(_run(["git", "ls-files", "-z", *folders], ROOT).split("\0")) - {""}
    names = set(zipfile.ZipFile(wheel).namelist())
    information = next(name for name in names if name.endswith(".dist-info/METADATA"))
    held = {name for name in names if ".dist-info/" not in name}
    licences = {information.replace("METADATA", f"licenses/{name}") for name in LICENCES}
    missing = sorted(tracked - held) + sorted(licences - names)
    if missing or held - tracked:
        raise BadWheelError(f"the wheel lacks {missing} and holds {sorted(held - tracked)} besides")
    print(
        f"{len(held)} files, all that git tracks of {', '.join(folders)}; {len(licences)} licences"
    )


def install(wheel: Path, environment: Path) -> None:
    """The wheel and what it needs, in an environment of its own.

    Raises:
        BadWheelError: If that does not work, or brings what should be left out.
    """
    began_s = time.monotonic()
    python = str(environment / "bin" / "python")
    _run(["uv", "venv", "--quiet", "--python", sys.executable, str(environment)], ROOT)
    _run(["uv", "pip", "install", "--quiet", "--python", python, str(wheel)], environment)
    listed = json.loads(
        _run(["uv", "pip", "list", "--python", python, "--format", "json"], environment)
    )
    names = {package["name"] for package in listed}
    if found := names & {*ABSENT}:
        raise BadWheelError(f"{', '.join(found)} came with it")
    _run(["uv", "pip", "check", "--quiet", "--python", python], environment)
    size_mb = sum(path.lstat().st_size for path in environment.rglob("*")) / 1e6
    took_s = time.monotonic() - began_s
    print(f"installed in {took_s:.0f} s: {len(names)} packages, {size_mb:.0f} MB, no torch")


def use(environment: Path, folder: Path) -> None:
    """Run every use in an empty folder, against a server of the wheel's own where one is asked for.

    Raises:
        BadWheelError: If one does not end with 0.
    """
    variables = _variables(environment, folder)
    with _server(environment, folder, variables) as url:
        for line in USES:
            command = [part.replace("{server}", url) for part in line]
            began_s = time.monotonic()
            program = [str(environment / "bin" / command[0]), *command[1:]]
            answer = _run(program, folder, variables)
            shown = " ".join(" ".join(command).split())
            print(f"{time.monotonic() - began_s:5.1f} s {len(answer):6} characters  {shown:.90}")


def _variables(environment: Path, home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("NUMBA_CACHE_DIR",) if name in os.environ}
    path = f"{environment / 'bin'}:/usr/bin:/bin"
    return kept | {"PATH": path, "HOME": str(home), "NO_PROXY": "127.0.0.1"}


@contextmanager
def _server(environment: Path, folder: Path, variables: dict[str, str]) -> Iterator[str]:
    program = [str(environment / "bin" / "llmserve"), "serve", "--port", "0", "--json"]
    told, logged = folder / "server.json", folder / "server.log"
    with told.open("wb") as out, logged.open("wb") as log:
        process = subprocess.Popen(program, cwd=folder, env=variables, stdout=out, stderr=log)
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while "}" not in told.read_text():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise BadWheelError(f"no server: {logged.read_text()[-800:]}")
            time.sleep(0.2)
        yield str(json.loads(told.read_text())["url"])
    finally:
        process.terminate()
        process.wait(timeout=60)


def _run(command: Sequence[str], folder: Path, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-800:]
        raise BadWheelError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done.stdout


def main(argv: Sequence[str]) -> int:
    """0 if all is so, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="new folder for wheel and environment")
    arguments: Any = parser.parse_args(argv)
    work = Path(tempfile.mkdtemp()) if arguments.keep is None else arguments.keep.resolve()
    empty = work / "empty"
    try:
        empty.mkdir(parents=True)
        install(build(work), work / "environment")
        use(work / "environment", empty)
    except (BadWheelError, FileExistsError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        if arguments.keep is None:
            shutil.rmtree(work, ignore_errors=True)
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
