"""What scripts/pre_submission_check.py looks at without a server: files, manifests, weights."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from agents.ppo.card import read_card
from agents.ppo.policy import encoding_hash, load_policy
from llmserve_env.tasks import shipped_catalogue
from scripts.push_dry_run import dry_run
from scripts.regenerate_golden import DIRECTORY, record
from scripts.validate_openenv_runtime import ROOT, copy_project

TOOLS: Final = Path(sys.executable).parent
FILES: Final = (
    "README.md",
    "LICENSE",
    "NOTICE",
    "SECURITY.md",
    "CITATION.cff",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "openenv.yaml",
    "pyproject.toml",
    "uv.lock",
    ".env.example",
    "inference.py",
    "evaluate.py",
    "train.py",
    "client.py",
    "models.py",
    "__init__.py",
)
TWINS: Final = (("Dockerfile", "server/Dockerfile"), ("openenv.yaml", "llmserve_env/openenv.yaml"))
SHOWN_CHARACTERS: Final = 400


class FailedCheckError(Exception):
    """A check came out bad; the message says what was seen."""


class SkippedCheckError(Exception):
    """A check cannot be made here; the message says why."""


def run(*command: str, cwd: Path = ROOT, timeout_s: float = 600.0, **variables: str) -> str:
    """What a command writes to stdout.

    Raises:
        FailedCheckError: If it does not end with status 0 in time; the message has its last words.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FailedCheckError(f"{' '.join(command)} ran for more than {timeout_s:g} s") from error
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[-SHOWN_CHARACTERS:]
        raise FailedCheckError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done.stdout


def files() -> str:
    """Every file that a judge looks for is there, and twins are equal."""
    missing = [name for name in FILES if not (ROOT / name).is_file()]
    differing = [
        twin for name, twin in TWINS if (ROOT / name).read_bytes() != (ROOT / twin).read_bytes()
    ]
    if missing or differing:
        raise FailedCheckError(f"missing: {missing}; other than its twin: {differing}")
    return f"{len(FILES)} files; {' and '.join(twin for _, twin in TWINS)} are as at the root"


def links() -> str:
    """Every relative link of the README and of the documents leads somewhere."""
    pages = [ROOT / name for name in FILES if name.endswith(".md")]
    pages += sorted((ROOT / "docs").glob("*.md"))
    dead, count = [], 0
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            count += 1
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)} -> {target}")
    if dead:
        raise FailedCheckError(f"dead links: {', '.join(dead)}")
    return f"{count} links of {len(pages)} pages"


def openenv_validate() -> str:
    """OpenEnv's own verdict on a copy of what git tracks."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "llmserve_env"
        copy_project(copy)
        for level in ((), ("--level", "static")):
            run(str(TOOLS / "openenv"), "validate", ".", *level, cwd=copy)
    return "its default and its static level end with 0"


def openenv_push() -> str:
    """What a push would upload is what a Space needs, and nothing else."""
    hub, problems = dry_run()
    if problems:
        raise FailedCheckError("; ".join(problems))
    return (
        f"{len(hub.files)} files, {sum(map(len, hub.files.values())) / 1e6:.1f} MB, none uploaded"
    )


def golden() -> str:
    """The simulator does what the golden files say."""
    for task in shipped_catalogue().tasks:
        expected = json.loads((DIRECTORY / f"{task.task_id}.json").read_text(encoding="utf-8"))
        found = record(task.task_id)
        for key in ("environment_version", "seed", "actions", "reward", "metrics"):
            _compare(f"{task.task_id}: {key}", found[key], expected[key])
    return f"{len(shipped_catalogue().tasks)} tasks play as recorded"


def _compare(where: str, found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        for key in expected | found:
            _compare(f"{where}.{key}", found.get(key), expected.get(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for index, (left, right) in enumerate(zip(found, expected, strict=True)):
            _compare(f"{where}[{index}]", left, right)
    elif isinstance(expected, float) and isinstance(found, int | float):
        # Up to a billionth: another processor may round a logarithm differently.
        if not math.isclose(found, expected, rel_tol=1e-9):
            raise FailedCheckError(f"{where} is {found}, recorded is {expected}")
    elif found != expected:
        raise FailedCheckError(f"{where} is {found!r}, recorded is {expected!r}")


def weights() -> str:
    """There is a policy per task and one for all, of this version and these features."""
    catalogue = shipped_catalogue()
    names = [task.task_id for task in catalogue.tasks] + ["generalist"]
    for name in names:
        path = ROOT / "weights" / f"{name}.npz"
        card, version = read_card(path), catalogue.environment_version
        load_policy(path)
        if (card.environment_version, card.encoding_hash) != (version, encoding_hash()):
            raise FailedCheckError(
                f"{path.name} is of version {card.environment_version} and encoding "
                f"{card.encoding_hash}; this is {version} and {encoding_hash()}"
            )
    return f"{len(names)} policies of version {catalogue.environment_version}"


def docker_build() -> str:
    """The image builds with the Docker engine of this machine."""
    try:
        run("docker", "version", timeout_s=30)
    except (OSError, FailedCheckError) as error:
        raise FailedCheckError(
            f"no Docker engine ({error}); --skip-docker, or scripts/verify_dockerfile.sh, which "
            "needs none"
        ) from error
    run("docker", "build", "--tag", "llmserve-env", ".", timeout_s=1800)
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", "llmserve-env"))
    return f"built, {size / 1e6:.0f} MB"


def without_docker() -> str:
    """What is known of the image where it is not built.

    Raises:
        SkippedCheckError: Always, with what scripts/verify_dockerfile.sh wrote last.
    """
    page = ROOT / "docs" / "image.md"
    found = re.search(r"on (\S+):", page.read_text(encoding="utf-8")) if page.exists() else None
    when = "never" if found is None else f"on {found.group(1)}, docs/image.md"
    raise SkippedCheckError(f"--skip-docker; scripts/verify_dockerfile.sh passed {when}")


Check = tuple[str, Callable[[], str]]


def checks(*, with_docker: bool) -> Iterator[Check]:
    """Names and checks, quick ones first."""
    yield "files", files
    yield "links", links
    yield "openenv push, dry", openenv_push
    yield "openenv validate", openenv_validate
    yield "weights", weights
    yield "golden files", golden
    yield "docker build", docker_build if with_docker else without_docker
