import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from scripts.nightly import STEPS, Step, main, run_all, run_step

ROOT = Path(__file__).resolve().parents[1]


def step(program, **options):
    return Step(
        "trial", "a trial", (sys.executable, "-c", program), options.pop("minutes", 1.0), **options
    )


def test_a_step_passes_fails_or_is_skipped_by_name(tmp_path):
    log = tmp_path / "log"

    passed = run_step(step("print('3 passed, 1 skipped in 1s')"), log)
    failed = run_step(step("print('why'); raise SystemExit(4)"), log)
    all_skipped = run_step(step("print('SKIPPED [2] x: no torch'); print('2 skipped in 1s')"), log)
    lacking = run_step(step("", programs=("no-such-program",)), log)

    assert (passed.result, passed.detail) == ("passed", "3 passed, 1 skipped in 1s")
    assert (failed.result, failed.detail) == ("failed", "status 4: why")
    assert (all_skipped.result, all_skipped.detail) == ("skipped", "SKIPPED [2] x: no torch")
    assert (lacking.result, lacking.detail) == ("skipped", "no program no-such-program")


def test_a_step_that_hangs_is_ended_and_fails(tmp_path):
    hung = run_step(step("import time; time.sleep(60)", minutes=0.005), tmp_path / "log")

    assert (hung.result, hung.detail) == ("failed", "not done in 0.005 min")


def test_the_summary_names_what_failed_and_the_status_tells(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("scripts.nightly.STEPS", [step("")])

    status = run_all([step("raise SystemExit(1)")], tmp_path / "out")

    assert status == 1
    assert (
        capsys.readouterr().out.splitlines()[-1] == "nightly: 0 passed, 1 failed, 0 skipped (trial)"
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())[0]["result"] == "failed"
    assert "| trial | **failed** |" in (tmp_path / "out" / "summary.md").read_text()


def test_an_unknown_step_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nothing"])

    assert ended.value.code == 2
    assert "unknown step 'nothing'; steps: torch, sb3" in capsys.readouterr().err


def test_every_marker_of_tests_that_ci_skips_has_a_step():
    markers = re.findall(r'^    "(needs_\w+):', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    commands = " ".join(" ".join(each.command) for each in STEPS)
    assert [marker for marker in markers if marker not in commands] == []


@pytest.mark.parametrize("name", ["llmserve_gate.yml", "nightly.yml"])
def test_the_example_workflows_run_what_exists(name):
    workflow = yaml.safe_load((ROOT / "examples" / "ci" / name).read_text())

    (job,) = workflow["jobs"].values()
    script = "\n".join(each["run"] for each in job["steps"] if "run" in each)
    assert "timeout-minutes" in job
    assert workflow["permissions"] == {"contents": "read"}
    for path in re.findall(r"python (\w+\.py)", script):
        assert (ROOT / path).is_file()
    for module in re.findall(r"python -m ([\w.]+)", script):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
