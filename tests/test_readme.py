"""Every command of the README and of the pages that start readers, as it is written there.

The blocks of a page run from top to bottom in a folder that looks like a clone: the project's files
are links, so that what commands write stays there. `uv run --frozen X` runs X with this Python's
programs. What a command names but a reader has (a log of requests, a running server, a language
model's server, an agent of their own) is there: see `clone` and `places`. Long commands are scaled
by options that they document (SCALED); commands that need what this machine may lack are listed in
NOT_RUN with the reason, and their options are held to the program that takes them.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.documents import PAGES, ROOT, blocks, commands, plain
from tests.live_server import free_port
from tests.openai_server import calls, openai_server

PAGE_IDS = [path.stem for path in PAGES]
HERE, MODEL = "localhost:7860", "http://127.0.0.1:8000/v1"

# By the command's beginning, without `uv run` and its options.
NOT_RUN = {
    "python scripts/run_checks.py": "it is the test suite itself; CI runs it as it is written",
    "docker build": "needs a Docker engine; scripts/verify_dockerfile.sh builds without one",
    "docker run": "needs a Docker engine; scripts/verify_dockerfile.sh tries the image",
    "jupyter lab": "opens a browser and runs on; tests/test_notebooks.py runs the notebooks",
    "tensorboard": "runs on, and belongs to the extra `train`",
    "llmserve autopilot": "needs vLLM with the plugin; tests/test_cli_autopilot.py has its channel",
    "llmserve recommend": "takes minutes; its own tests run it on a small budget",
    "python examples/trl_grpo.py": "needs the extra `trl`, and two minutes",
}
# What takes minutes, by the options that the pages document.
SCALED = (
    (r"llmserve demo", "llmserve demo --seconds 0"),
    (r"--episodes \d+", "--episodes 1"),
    (r"--seeds \d+", "--seeds 2"),
    (r"(evaluate\.py (?!.*--jobs).*)$", r"\1 --jobs 1"),
    (r"(train\.py .*)--steps \d+", r"\1--smoke"),
    (r"(examples/\S+ .*)$", r"\1 --steps 300"),
)
# Modules by extra; a command with another extra is in NOT_RUN.
EXTRAS = {"train": "torch", "sb3": "stable_baselines3"}
TYPED = {"llmserve play": "batch 192\nend\n", "llmserve mcp": ""}
SERVERS = ("uvicorn", "llmserve serve")
START_LIMIT_S = 180.0

MY_MODULE = """
class MyAgent:
    def reset(self, task, seed):
        knobs = {"batch_cap": 161, "kv_budget_fraction": 0.45, "quantization_tier": "INT8"}
        self.action = task.default_action.model_copy(update=knobs | {"speculation_depth": 2})

    def act(self, observation):
        return self.action
"""


def extras_of(command):
    return re.findall(r"--extra (\w+)", command)


def in_page(beginnings, command):
    return next((key for key in beginnings if plain(command).startswith(key)), None)


def is_run_here(command):
    missing = [
        e for e in extras_of(command) if importlib.util.find_spec(EXTRAS.get(e, "-")) is None
    ]
    return in_page(NOT_RUN, command) is None and not missing


def scaled(command):
    for pattern, replacement in SCALED:
        command = re.sub(pattern, replacement, command)
    return command


@pytest.fixture
def clone(tmp_path):
    """A folder that looks like a clone, with the files that a reader is said to have."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "runs").mkdir()
    # What a training that cannot run without torch would have left.
    for name in ("bursty_workload", "mine"):
        (tmp_path / f"runs/{name}.npz").symlink_to(ROOT / "weights/bursty_workload.npz")
    (tmp_path / "my_module.py").write_text(MY_MODULE, encoding="utf-8")
    rows = (
        {"timestamp_s": 0.4 * n, "prompt_tokens": 200 + n % 9, "output_tokens": 60 + n % 7}
        for n in range(900)
    )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "requests.jsonl").write_text(lines, encoding="utf-8")
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        '#!/usr/bin/env bash\nshift\nwhile [[ "$1" == --* ]]; do\n'
        '    [[ "$1" == --extra ]] && shift\n    shift\ndone\nexec "$@"\n'
    )
    uv.chmod(0o755)
    return tmp_path


@pytest.fixture
def places(server_url):
    """What the pages' addresses are here: a running server, and a language model's."""
    with openai_server() as model:
        model.script("my-model", calls({"batch_cap": 64, "hold_windows": 50}))
        yield {HERE: server_url.removeprefix("http://"), MODEL: model.url}


def environ_of(folder):
    programs = f"{folder / 'bin'}:{Path(sys.executable).parent}"
    return os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),  # programs are links, and Python looks beside what they lead to
        "LLMSERVE_TRACES_DIR": str(folder / "traces"),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def run(command, folder, **options):
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environ_of(folder),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def here(text, places):
    for written, meant in places.items():
        text = text.replace(written, meant)
    return text


def serve(command, folder):
    """Start a server as written but for its port; it answers, and ends on SIGTERM by itself."""
    port = free_port()
    command = re.sub(r"--port \d+|$", f" --port {port}", command, count=1)
    log = (folder / "server.log").open("w+")
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}" if "=" not in command.split()[0] else command],
        cwd=folder,
        env=environ_of(folder),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        log.close()
    assert "Traceback" not in (folder / "server.log").read_text()


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def check(command, folder, places):
    if in_page(SERVERS, command):
        serve(here(command, places), folder)
        return
    typed = TYPED.get(in_page(TYPED, command) or "")
    done = run(here(scaled(command), places), folder, input=typed, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def is_run_before(command, page):
    """Whether a page before this one says the same; an import is what later commands need."""
    earlier = [c for other in PAGES[: PAGES.index(page)] for c in commands(other)]
    return command in earlier and "import" not in command


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_commands_of_a_page_do_what_it_says(page, clone, places):
    for command in commands(page):
        is_ours = is_run_here(command) and not extras_of(command)
        if is_ours and not is_run_before(command, page):
            check(command, clone, places)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_python_of_a_page_runs(page, clone, places):
    code = "\n".join(text for kind, text in blocks(page) if kind == "python")

    done = subprocess.run(
        [sys.executable, "-c", here(code, places)],
        cwd=clone,
        env=environ_of(clone) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) == ("print(" in code)


@pytest.mark.slow
@pytest.mark.needs_torch
@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_commands_of_an_extra_do_what_the_pages_say(extra, clone, places):
    pytest.importorskip(EXTRAS[extra], reason=f"needs the extra `{extra}`")
    (clone / "runs/bursty_workload.npz").unlink()
    wanted = [c for page in PAGES for c in commands(page) if extra in extras_of(c)]

    for command in dict.fromkeys(wanted):
        if is_run_here(command):
            check(command, clone, places)


def test_nothing_is_left_out_that_no_page_has():
    told = [command for page in PAGES for command in commands(page)]

    assert {in_page(NOT_RUN, command) for command in told} == {None, *NOT_RUN}
    assert {extra for c in told if not in_page(NOT_RUN, c) for extra in extras_of(c)} <= {*EXTRAS}
