"""Runs everything slow that a change does not wait for: each step has a name and a result.

    uv run --frozen python -m scripts.nightly [--out nightly] [--only browser,fuzz] [--list]

A step passes, fails, or is skipped because something is not here (an extra, a program, traces); a
step whose tests were all skipped is skipped, too. Its output goes to OUT/NAME.log, the results to
OUT/summary.json and OUT/summary.md, after every step. Exit status 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agents.result_files import write_json, write_text

ROOT: Final = Path(__file__).resolve().parent.parent
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# What pytest says in its last line, and its status where nothing was collected.
COUNTS: Final = re.compile(r"(\d+) (passed|failed|skipped|error)")
NOTHING_COLLECTED: Final = 5
TRACES: Final = ROOT.parent / "shared" / "traces"
LAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to run.

    Attributes:
        name: Of the step and of its log.
        says: What it shows, in a sentence.
        command: Run in the project's folder.
        minutes: After so long it is ended and counts as failed.
        programs: Without one of these on the PATH it is skipped.
        needs_root: Whether it is skipped for anybody else.
        folder: Without it the step is skipped.
    """

    name: str
    says: str
    command: tuple[str, ...]
    minutes: float
    programs: tuple[str, ...] = ()
    needs_root: bool = False
    folder: Path | None = None

    def missing(self) -> str | None:
        """What is not here; None if all is."""
        absent = [program for program in self.programs if shutil.which(program) is None]
        if absent:
            return f"no program {', '.join(absent)}"
        if self.needs_root and os.geteuid() != 0:
            return "needs root"
        if self.folder is not None and not self.folder.is_dir():
            return f"no folder {self.folder.name}"
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    name: str
    result: str
    took_s: float
    detail: str


def _python(*arguments: str, extras: Sequence[str] = ()) -> tuple[str, ...]:
    wanted = [part for extra in extras for part in ("--extra", extra)]
    return ("uv", "run", "--frozen", *wanted, "python", *arguments)


def _tests(marker: str, *extras: str) -> tuple[str, ...]:
    return _python("-m", "pytest", "-q", "-rs", "-m", marker, extras=extras)


STEPS: Final = (
    Step("torch", "what trains, with torch", _tests("needs_torch", "train"), 40, ("uv",)),
    Step("sb3", "stable-baselines3's agents", _tests("needs_sb3", "sb3", "train"), 40, ("uv",)),
    Step("openai", "language models, by the client", _tests("needs_openai", "openai"), 10, ("uv",)),
    Step("trl", "GRPO's environment", _tests("needs_trl", "trl"), 30, ("uv",)),
    Step("ray", "a cluster whose nodes are killed", _tests("needs_ray", "ray"), 20, ("uv",)),
    Step("otel", "spans, as a collector gets them", _tests("needs_otel", "otel"), 10, ("uv",)),
    Step("vllm", "a real vLLM on the CPU", _tests("needs_vllm"), 60, ("uv",)),
    Step("traces", "the public traces", _tests("needs_traces"), 20, ("uv",), folder=TRACES),
    Step(
        "browser",
        "the page in a browser",
        _python("-m", "pytest", "-q", "-rs", "tests/test_web_browser.py"),
        20,
        ("uv", "chromium", "chromedriver"),
    ),
    Step(
        "smoke_training",
        "train.py from end to end",
        _python("train.py", "--smoke", extras=["train"]),
        10,
        ("uv",),
    ),
    Step(
        "policies",
        "the shipped policies hold their scores",
        _python(
            *("evaluate.py", "--agent", "ppo,ppo_generalist,kv_rule", "--task", "all"),
            *("--episodes", "20", "--baselines", "none", "--fail-under", "0.75"),
        ),
        20,
        ("uv",),
    ),
    Step(
        "fuzz",
        "whatever the schema allows, and more: no 5xx, no hang",
        _python("-m", "scripts.fuzz_server", "--requests", "50000", "--messages", "50000"),
        60,
        ("uv",),
    ),
    Step(
        "soak",
        "64 sessions, some of them bad: no leak, no cross-talk",
        _python("-m", "scripts.soak_server", "--sessions", "64", "--minutes", "5"),
        20,
        ("uv",),
    ),
    Step(
        "health", "/health while others work", _python("-m", "scripts.measure_health"), 10, ("uv",)
    ),
    Step(
        "faults",
        "full and read-only disks, kill -9, clocks that jump",
        _python("-m", "scripts.try_faults", extras=["train"]),
        40,
        ("uv", "unshare"),
    ),
    Step(
        "upgrade",
        "a server is replaced under load",
        _python("-m", "scripts.try_upgrade"),
        10,
        ("uv",),
    ),
    Step(
        "wheel",
        "the wheel, used in an environment of its own",
        _python("-m", "scripts.verify_wheel"),
        20,
        ("uv", "git"),
    ),
    Step(
        "openenv_runtime",
        "OpenEnv's runtime checks",
        _python("scripts/validate_openenv_runtime.py"),
        20,
        ("uv",),
    ),
    Step(
        "openenv_versions",
        "both names of OpenEnv",
        ("scripts/check_openenv_versions.sh",),
        40,
        ("uv", "git"),
    ),
    Step(
        "dockerfile",
        "the image, built and tried without an engine",
        ("scripts/verify_dockerfile.sh",),
        40,
        ("buildah", "runc", "debootstrap"),
        needs_root=True,
    ),
)


def run_step(step: Step, log: Path) -> Outcome:
    """What becomes of a step; its output goes to the log."""
    missing = step.missing()
    if missing is not None:
        return Outcome(step.name, SKIPPED, 0.0, missing)
    begun_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=step.minutes * 60.0)
        except BaseException as error:
            # All that it started, or a server of it would outlive the run.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return Outcome(
                step.name, FAILED, step.minutes * 60.0, f"not done in {step.minutes:g} min"
            )
    return outcome_of(step.name, status, log, took_s=time.monotonic() - begun_s)


def outcome_of(name: str, status: int, log: Path, *, took_s: float) -> Outcome:
    """The result of a command that ended: its status, and what its tests say."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "no output"
    counts = {word: int(count) for count, word in COUNTS.findall(last)}
    if status == NOTHING_COLLECTED or (status == 0 and counts and set(counts) == {"skipped"}):
        reasons = [line for line in lines if line.startswith("SKIPPED")]
        return Outcome(name, SKIPPED, took_s, reasons[-1] if reasons else last)
    if status == 0:
        return Outcome(name, PASSED, took_s, last)
    return Outcome(name, FAILED, took_s, f"status {status}: {' / '.join(lines[-LAST_LINES:])}")


def summary_line(outcomes: Sequence[Outcome]) -> str:
    """How many steps had which result, and the names of those that failed."""
    counts = {
        kind: sum(each.result == kind for each in outcomes) for kind in (PASSED, FAILED, SKIPPED)
    }
    failed = [each.name for each in outcomes if each.result == FAILED]
    line = f"nightly: {', '.join(f'{count} {kind}' for kind, count in counts.items())}"
    return f"{line} ({', '.join(failed)})" if failed else line


def page(outcomes: Sequence[Outcome]) -> str:
    """The results as Markdown."""
    says = {step.name: step.says for step in STEPS}
    rows = ["| step | result | took, s | shows | detail |", "|---|---|---|---|---|"]
    for each in outcomes:
        detail = each.detail.replace("|", "\\|")[:300]
        result = f"**{each.result}**" if each.result == FAILED else each.result
        rows.append(
            f"| {each.name} | {result} | {each.took_s:.0f} | {says[each.name]} | {detail} |"
        )
    return "\n".join(["# Nightly", summary_line(outcomes), "", *rows]) + "\n"


def main(argv: Sequence[str]) -> int:
    """0 if no step failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("nightly"), help="folder of the results")
    parser.add_argument("--only", default="", help="names of steps, with commas")
    parser.add_argument("--list", action="store_true", help="show the steps and run none")
    arguments = parser.parse_args(argv)
    names = [name.strip() for name in arguments.only.split(",") if name.strip()]
    known = [step.name for step in STEPS]
    strangers = [name for name in names if name not in known]
    if strangers:
        parser.error(f"--only: unknown step {strangers[0]!r}; steps: {', '.join(known)}")
    wanted = [step for step in STEPS if not names or step.name in names]
    if arguments.list:
        for step in wanted:
            print(f"{step.name:18}{step.says}: {' '.join(step.command)}")
        return 0
    return run_all(wanted, arguments.out)


def run_all(steps: Sequence[Step], out: Path) -> int:
    """Run the steps one after the other, tell and keep each result; 0 if none failed."""
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for step in steps:
        outcomes.append(run_step(step, out / f"{step.name}.log"))
        done = outcomes[-1]
        print(f"{done.result:8}{done.name:18}{done.took_s:6.0f} s  {done.detail}", flush=True)
        write_json(out / "summary.json", [asdict(each) for each in outcomes])
        write_text(out / "summary.md", page(outcomes))
    print(summary_line(outcomes))
    return int(any(each.result == FAILED for each in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
