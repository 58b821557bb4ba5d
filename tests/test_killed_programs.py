"""What is left behind by a program that is killed in the middle."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_an_evaluation_that_was_killed_leaves_the_old_result_and_nothing_else(tmp_path):
    results = tmp_path / "results.json"
    results.write_text('{"old": true}')
    command = [sys.executable, "evaluate.py", "--agent", "mpc", "--task", "static_workload"]
    killed = subprocess.Popen(
        [*command, "--episodes", "4", "--json", str(results)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(6.0)
    assert killed.poll() is None
    killed.kill()
    killed.wait()

    assert json.loads(results.read_text()) == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
