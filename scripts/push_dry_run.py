"""Runs `openenv push` with a stand-in for the hub: shows what it would upload, uploads nothing.

    uv run python -m scripts.push_dry_run [--tree]

OpenEnv's own command validates, stages and filters; only its two ways to the hub are replaced. By
default it gets a copy of what git tracks; with --tree this folder as it lies, to see what else
would go. Exits with 1 if something that a Space needs is missing, or something goes that should
not.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import yaml
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]
from openenv.cli._cli_utils import console
from openenv.cli.commands import push

from scripts.validate_openenv_runtime import ROOT, copy_project

COLOURS: Final = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NEEDED: Final = ("README.md", "Dockerfile", "openenv.yaml", "pyproject.toml", "uv.lock")
# The hub takes larger ones, and longer descriptions, only in other ways.
MOST_BYTES_A_FILE: Final = 10_000_000
LONGEST_DESCRIPTION: Final = 60


@dataclass(slots=True)
class Hub:
    """Stands in for HfApi: remembers what it is told, and what lies in the folder it is given."""

    spaces: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def create_repo(self, **space: Any) -> None:
        """Remember the Space."""
        self.spaces.append(space)

    def upload_folder(
        self, *, folder_path: str, ignore_patterns: Sequence[str], **_options: Any
    ) -> None:
        """Remember the files that HfApi would send."""
        folder = Path(folder_path)
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        for name in filter_repo_objects(names, ignore_patterns=list(ignore_patterns)):
            self.files[name] = (folder / name).read_bytes()


def pushed(folder: Path) -> Hub:
    """What `openenv push --exclude .gitignore` of this folder tells the hub.

    Raises:
        typer.BadParameter: If OpenEnv finds that the folder is no environment.
    """
    hub = Hub()
    with (
        patch.object(push, "HfApi", lambda: hub),
        patch.object(push, "whoami", lambda: {"name": "someone"}),
        patch.object(console, "quiet", True),
    ):
        push.push(directory=str(folder), exclude=".gitignore")
    return hub


def problems(hub: Hub, tracked: set[str]) -> list[str]:
    """What is wrong with an upload, a sentence each.

    Args:
        hub: What it was told.
        tracked: The files of the project.
    """
    found = [f"{name} is not uploaded" for name in NEEDED if name not in hub.files]
    if found:
        return found
    visible = {name for name in tracked if not any(p.startswith(".") for p in Path(name).parts)}
    found += [f"{name} is not uploaded" for name in sorted(visible - hub.files.keys())]
    found += [f"{name} is uploaded, no file of ours" for name in sorted(hub.files.keys() - visible)]
    found += [
        f"{name} has {len(content):,} bytes"
        for name, content in hub.files.items()
        if len(content) > MOST_BYTES_A_FILE
    ]
    if [space["space_sdk"] for space in hub.spaces] != ["docker"]:
        found.append(f"the Space is asked for as {hub.spaces}")
    if hub.files["Dockerfile"] != (ROOT / "Dockerfile").read_bytes():
        found.append("`openenv push` rewrites the Dockerfile")
    if hub.files["README.md"] != (ROOT / "README.md").read_bytes():
        found.append("`openenv push` rewrites the front matter of the README")
    return found + _dockerfile_problems(hub) + _front_matter_problems(hub)


def _dockerfile_problems(hub: Hub) -> list[str]:
    text = hub.files["Dockerfile"].decode().replace("\\\n", " ")
    folders = {str(parent) for name in hub.files for parent in Path(name).parents}
    sources = [
        source
        for options, names in re.findall(r"^COPY((?: --\S+)*) (.+) \S+$", text, re.MULTILINE)
        if "--from" not in options
        for source in names.split()
    ]
    return [
        f"the Dockerfile copies {source}, which is not uploaded"
        for source in sources
        if source not in hub.files and source not in folders - {"."}
    ]


def _front_matter_problems(hub: Hub) -> list[str]:
    parts = hub.files["README.md"].decode().split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        return ["the README has no front matter"]
    said = yaml.safe_load(parts[1])
    port = yaml.safe_load(hub.files["openenv.yaml"])["port"]
    wanted = {"sdk": "docker", "app_port": port, "base_path": "/web"}
    found = [
        f"front matter: {key} is {said.get(key)!r}, not {value!r}"
        for key, value in wanted.items()
        if said.get(key) != value
    ]
    found += [
        f"front matter: {key} is {said.get(key)!r}, not one of {', '.join(sorted(COLOURS))}"
        for key in ("colorFrom", "colorTo")
        if said.get(key) not in COLOURS
    ]
    found += [f"front matter: no {key}" for key in ("title", "emoji", "license") if key not in said]
    if len(said.get("short_description", "")) > LONGEST_DESCRIPTION:
        found.append(f"front matter: short_description is longer than {LONGEST_DESCRIPTION}")
    if "openenv" not in said.get("tags", ()):
        found.append("front matter: no tag openenv, by which the hub lists environments")
    if f"PORT={port}" not in hub.files["Dockerfile"].decode():
        found.append(f"the image does not serve on port {port}")
    return found


def dry_run(*, of_tree: bool = False) -> tuple[Hub, list[str]]:
    """What a push would upload, and what is wrong with that.

    Args:
        of_tree: Of this folder as it lies, instead of a copy of what git tracks.

    Raises:
        typer.BadParameter: If OpenEnv finds that the folder is no environment.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "llmserve_env"
        copy_project(copy)
        tracked = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
        hub = pushed(ROOT if of_tree else copy)
    return hub, problems(hub, tracked)


def main(argv: Sequence[str]) -> int:
    """0 if the upload is as it should be, else 1."""
    hub, found = dry_run(of_tree="--tree" in argv)
    total_mb = sum(map(len, hub.files.values())) / 1e6
    print(f"{len(hub.files)} files, {total_mb:.1f} MB, to {hub.spaces[0]['repo_id']}")
    for problem in found:
        print(f"WRONG: {problem}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
