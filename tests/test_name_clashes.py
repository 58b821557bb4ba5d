"""Another package with the name of one of ours is told in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def llmserve(folder: Path) -> subprocess.CompletedProcess[str]:
    """`python -m llmserve_env agents` in a folder, whose packages come first."""
    return subprocess.run(
        [sys.executable, "-m", "llmserve_env", "agents"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["agents", "server"])
def test_a_package_of_the_same_name_is_named_with_its_place(name, tmp_path):
    other = tmp_path / name / "__init__.py"
    other.parent.mkdir()
    other.touch()

    ended = llmserve(tmp_path)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert f"the package `{name}` is {other}, not the one in {ROOT}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_distribution_that_lies_over_ours_is_named(tmp_path):
    metadata = tmp_path / "other_agents-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-agents\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("agents\n")
    command = (
        "import llmserve_env.__main__ as command, sys; sys.modules['agents.registry'] = None\n"
        "sys.argv = ['llmserve', 'agents']; command.main()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert "`agents` is installed by other-agents, too" in ended.stderr
