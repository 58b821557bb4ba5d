"""What scripts/pre_submission_check.py asks of a running server, and of what speaks to it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx

from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.submission_files import TOOLS, Check, FailedCheckError, SkippedCheckError, run
from scripts.validate_openenv_runtime import ROOT
from server.cli.checkups import CHECKS, IllError, Patient

DOCUMENTED_URL: Final = "localhost:7860"
MAX_LATENCY_MS: Final = 500.0
TIMEOUT_S: Final = 120.0
START_LINE: Final = r"\[START\] task=(\w+) env=llmserve_env model=\S+"
STEP_LINE: Final = (
    r'\[STEP\] step=\d+ action=\{"batch_cap".*\} reward=-?\d\.\d\d '
    r"done=(true|false) error=(null|\w+)"
)
END_LINE: Final = r"\[END\] success=true steps=\d+ score=0\.\d{3} rewards=-?\d\.\d\d(,-?\d\.\d\d)*"
LINES_PER_TASK: Final = 202


def health_checks(url: str) -> Iterator[Check]:
    """The checks of `llmserve doctor`, each by its own name."""
    client = httpx.Client(base_url=url, timeout=TIMEOUT_S)
    patient = Patient(url, client, MAX_LATENCY_MS)
    for name, check in CHECKS:
        yield name, partial(_examined, check, patient)


def _examined(check: Callable[[Patient], str], patient: Patient) -> str:
    try:
        return check(patient)
    except IllError as error:
        raise FailedCheckError(str(error)) from error


def openenv_validate_url(url: str) -> str:
    """OpenEnv's own verdict on the server."""
    run(str(TOOLS / "openenv"), "validate", "--url", url)
    return "ends with 0"


def readme_snippet(url: str) -> str:
    """The README's Python client plays an episode and prints a grade."""
    program = _block("python", "from_url").replace(f"http://{DOCUMENTED_URL}", url)
    return f"prints {run(sys.executable, '-c', program).splitlines()[0]}"


def readme_curl(url: str) -> str:
    """The README's curl commands play an episode, and the grader answers."""
    if shutil.which("curl") is None:
        raise SkippedCheckError("no curl here")
    address = url.removeprefix("http://").rstrip("/")
    script = _block("bash", "curl -s localhost").replace(DOCUMENTED_URL, address)
    answers = list(_documents(run("bash", "-ec", script)))
    return f"{len(answers)} answers, graded {answers[-1]['score']:.3f}"


def _documents(text: str) -> Iterator[Any]:
    """JSON documents that follow each other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:]


def _block(language: str, holding: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if holding in block:
            return str(block)
    raise FailedCheckError(f"the README has no {language} block with {holding}")


def grades_alike(url: str) -> str:
    """One seed and the same actions are graded alike, byte for byte, and so is their log."""
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for task in shipped_catalogue().tasks:
            played = [_graded(client, task) for _ in range(2)]
            log = client.get("/episode_log").json()
            replayed = [_answer(client, "/grader", {"episode_log": log}) for _ in range(2)]
            # A log does not know the id of its session's episode.
            without_id = [json.loads(each[0]) | {"episode_id": None} for each in (played, replayed)]
            if len({*played}) + len({*replayed}) != 2 or without_id[0] != without_id[1]:
                raise FailedCheckError(f"{task.task_id}: {played}, from the log {replayed}")
    return f"{len(shipped_catalogue().tasks)} tasks: twice played and twice from the log the same"


def _graded(client: httpx.Client, task: TaskSpec) -> bytes:
    start = {"task_id": task.task_id, "seed": 11, "episode_id": "judge"}
    told = json.loads(_answer(client, "/reset", start))
    session = {"session_id": told["session_id"]}
    action = task.default_action.model_dump(mode="json")
    while not told["done"]:
        told = json.loads(_answer(client, "/step", {"action": action} | session))
    return _answer(client, "/grader", session)


def _answer(client: httpx.Client, path: str, body: dict[str, Any]) -> bytes:
    response = client.post(path, json=body)
    if response.status_code != 200:
        raise FailedCheckError(f"{path} answered {response.status_code}: {response.text:.200}")
    return response.content


def baselines_alike(url: str, runtime: str) -> str:
    """`python -m server.baseline_inference` writes the same bytes twice."""
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first.json", "second.json"):
            path = Path(folder) / name
            command = ("-m", "server.baseline_inference", "--mode", "deterministic")
            where = ("--runtime", runtime, "--base-url", url, "--output", str(path))
            run(sys.executable, *command, *where)
            written.append(path.read_bytes())
    if written[0] != written[1]:
        raise FailedCheckError("two runs wrote different bytes")
    return f"{len(written[0]):,} bytes twice, {runtime}"


class _Model(BaseHTTPRequestHandler):
    """A language model that always says the same, behind OpenAI's protocol."""

    def do_POST(self) -> None:
        """Answer a request for a chat completion."""
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "parrot",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": '{"batch_cap": 64}'},
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing on stderr."""


@contextmanager
def _parrot() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def inference_prompts() -> str:
    """`inference.py --dry-run` shows its prompts."""
    return f"{len(run(sys.executable, 'inference.py', '--dry-run')):,} characters"


def inference_lines() -> str:
    """What inference.py logs has the hackathon's form, with a model that always says the same."""
    if importlib.util.find_spec("openai") is None:
        raise SkippedCheckError("needs the extra `openai`")
    with _parrot() as address:
        text = run(
            sys.executable,
            "inference.py",
            API_BASE_URL=address,
            MODEL_NAME="parrot",
            API_KEY="none",
        )
    return _read_log(text)


def _read_log(text: str) -> str:
    lines, tasks = text.splitlines(), shipped_catalogue().tasks
    if len(lines) != LINES_PER_TASK * len(tasks):
        raise FailedCheckError(f"{len(lines)} lines, not {LINES_PER_TASK} for each task")
    for index, line in enumerate(lines):
        place = index % LINES_PER_TASK
        wanted = {0: START_LINE, LINES_PER_TASK - 1: END_LINE}.get(place, STEP_LINE)
        if re.fullmatch(wanted, line) is None:
            raise FailedCheckError(f"line {index + 1} is of another form: {line:.200}")
    return f"{len(tasks)} tasks, every line of [START], [STEP] and [END] in form"


def openai_baseline(model: str) -> str:
    """A language model plays the baselines, at OPENAI_BASE_URL or OpenAI: this costs money.

    Raises:
        FailedCheckError: Without OPENAI_API_KEY, or if the model's play came to nothing.
    """
    if not os.environ.get("OPENAI_API_KEY"):
        raise FailedCheckError("--run-openai-baseline needs OPENAI_API_KEY")
    command = ("-m", "server.baseline_inference", "--mode", "openai", "--model", model)
    answer = json.loads(run(sys.executable, *command, timeout_s=1200.0))
    return f"{model} played {len(answer['tasks'])} tasks"


def no_openai_baseline() -> str:
    """Say that it was not asked for."""
    raise SkippedCheckError("costs money: ask for it with --run-openai-baseline")


def checks(url: str, *, runtime: str, model: str | None) -> Iterator[Check]:
    """Names and checks of a server on this machine."""
    yield from health_checks(url)
    yield "openenv validate --url", partial(openenv_validate_url, url)
    yield "README: Python client", partial(readme_snippet, url)
    yield "README: curl", partial(readme_curl, url)
    yield "grades, byte by byte", partial(grades_alike, url)
    yield "baselines, byte by byte", partial(baselines_alike, url, runtime)
    yield "inference.py --dry-run", inference_prompts
    yield "inference.py, its log", inference_lines
    yield "a model's baseline", partial(openai_baseline, model) if model else no_openai_baseline


def space_checks(url: str) -> Iterator[Check]:
    """Names and checks of a server elsewhere."""
    for name, check in health_checks(url):
        yield f"Space: {name}", check
    yield "Space: openenv validate --url", partial(openenv_validate_url, url)
