"""What `llmserve doctor` looks at: every endpoint of a running server, one check each."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from llmserve_env.models import KNOBS, ServeAction, ServeObservation
from llmserve_env.tasks import shipped_catalogue

TIMEOUT_S: Final = 30.0
# OpenEnv's name of the environment, in its paths.
ENVIRONMENT: Final = "llmserve_env"
TASK: Final = "static_workload"
SEED: Final = 1
STEPS: Final = 20
SHOWN_CHARACTERS: Final = 160


class IllError(Exception):
    """A check came out bad; the message says what was seen and what would be right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to.

    Attributes:
        check: Its name.
        is_ok: Whether all was well.
        detail: What was seen, in a line.
        took_ms: How long the check took.
    """

    check: str
    is_ok: bool
    detail: str
    took_ms: float


@dataclass(slots=True)
class Patient:
    """The server that is looked at, and what earlier checks learnt about it.

    Attributes:
        url: Its address.
        client: Speaks to it.
        max_latency_ms: What a median step may take, there and back.
        is_real: Whether it plays on a real server.
        step_ms: What steps over HTTP took, there and back.
    """

    url: str
    client: httpx.Client
    max_latency_ms: float
    is_real: bool = False
    step_ms: list[float] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> httpx.Response:
        """The answer, whose status must be this.

        Raises:
            IllError: If it is another.
            httpx.TransportError: If there is no answer.
        """
        response = self.client.request(method, path, json=body)
        if response.status_code != status:
            said = " ".join(response.text.split())
            raise IllError(
                f"{method} {path} answered {response.status_code}, not {status}: "
                f"{said:.{SHOWN_CHARACTERS}}"
            )
        return response

    @property
    def steps(self) -> int:
        """How many windows are played per check: on a real server each takes its time."""
        return 1 if self.is_real else STEPS


Check = Callable[[Patient], str]


def examine(patient: Patient) -> Iterator[Finding]:
    """One finding per check, in order; a check that fails does not stop those after it."""
    for name, check in CHECKS:
        began_s = time.perf_counter()
        try:
            detail, is_ok = check(patient), True
        except (KeyError, TypeError, AttributeError) as error:
            detail, is_ok = f"the answer is not of this form: {error}", False
        except (IllError, httpx.HTTPError, WebSocketException, OSError, ValueError) as error:
            detail, is_ok = str(error) or type(error).__name__, False
        took_ms = 1000 * (time.perf_counter() - began_s)
        yield Finding(name, is_ok, " ".join(detail.split()), took_ms)


def _health(patient: Patient) -> str:
    body = patient.ask("GET", "/health").json()
    if body["status"] != "healthy":
        raise IllError(f"status must be 'healthy', got {body['status']!r}")
    return f"up {body['uptime_s']:.0f} s, sessions: {body['active_sessions']}"


def _version(patient: Patient) -> str:
    theirs = patient.ask("GET", "/health").json()["version"]
    ours = shipped_catalogue().environment_version
    if theirs != ours:
        raise IllError(f"the server runs {theirs}, this command is {ours}: scores do not compare")
    return f"both {ours}"


def _tasks(patient: Patient) -> str:
    body = patient.ask("GET", "/tasks").json()
    theirs = {task["id"] for task in body["tasks"] + body["variants"]}
    missing = {task.task_id for task in shipped_catalogue().playable} - theirs
    if missing:
        raise IllError(f"the server lacks {', '.join(sorted(missing))}")
    return f"{len(body['tasks'])} tasks, {len(body['variants'])} variants"


def _info(patient: Patient) -> str:
    body = patient.ask("GET", "/info").json()
    patient.is_real = "real" in body
    return "plays on a real server" if patient.is_real else f"simulates, {body['name']}"


def _schema(patient: Patient) -> str:
    body = patient.ask("GET", "/schema").json()
    theirs, ours = body["action"]["properties"], ServeAction.model_json_schema()["properties"]
    # The server's tells where the playground's form begins, too.
    told = {
        knob: {k: v for k, v in theirs.get(knob, {}).items() if k != "default"} for knob in KNOBS
    }
    differing = [knob for knob in KNOBS if told[knob] != ours[knob]]
    missing = set(ServeObservation.model_fields) - set(body["observation"]["properties"])
    if differing or missing:
        names = ", ".join([*differing, *sorted(missing)])
        raise IllError(f"other than this command's: {names}")
    return f"{len(ours)} knobs and {len(ServeObservation.model_fields)} fields as here"


def _page(path: str) -> Check:
    def check(patient: Patient) -> str:
        return f"{len(patient.ask('GET', path).content):,} bytes"

    return check


def _web(patient: Patient) -> str:
    response = patient.client.get("/web/", follow_redirects=True)
    if response.status_code == 404:
        return "switched off (ENABLE_WEB_INTERFACE=false)"
    if response.status_code != 200:
        raise IllError(f"GET /web/ answered {response.status_code}, not 200")
    demo = patient.client.get("/demo")
    if not demo.is_redirect:
        raise IllError(f"GET /demo answered {demo.status_code}, no redirect to the page")
    return f"{len(response.content):,} bytes; /demo leads there"


def _play(patient: Patient) -> str:
    """An episode over HTTP: reset, steps, state, a refused step, the grade, and its end."""
    ask = patient.ask
    session = {"session_id": _reset(patient)}
    try:
        action = shipped_catalogue().get(TASK).default_action.model_dump(mode="json")
        for _ in range(patient.steps):
            began_s = time.perf_counter()
            ask("POST", "/step", {"action": action} | session)
            patient.step_ms.append(1000 * (time.perf_counter() - began_s))
        played = ask("GET", f"/state?session_id={session['session_id']}").json()["step_count"]
        if played != patient.steps:
            raise IllError(f"{patient.steps} steps were sent, /state counts {played}")
        refused = ask("POST", "/step", {"action": action | {"batch_cap": 0}} | session, status=422)
        code = refused.json()["error"]["code"]
        if patient.is_real:
            ask("POST", "/grader", session, status=422)
            return f"{played} steps; a wrong one is refused with {code}; real play has no grade"
        score = ask("POST", "/grader", session).json()["score"]
    finally:
        ask("DELETE", f"/sessions/{session['session_id']}", status=204)
    return f"{played} steps, a wrong one refused with {code}, graded {score:.3f}"


def _reset(patient: Patient) -> str:
    return str(patient.ask("POST", "/reset", {"task_id": TASK, "seed": SEED}).json()["session_id"])


def _latency(patient: Patient) -> str:
    if patient.is_real:
        return "a step is a window of real time"
    if not patient.step_ms:
        raise IllError("no step was played")
    median_ms, worst_ms = statistics.median(patient.step_ms), max(patient.step_ms)
    told = f"a step takes {median_ms:.1f} ms at the median, {worst_ms:.1f} ms at worst"
    if median_ms > patient.max_latency_ms:
        raise IllError(f"{told}; more than {patient.max_latency_ms:g} ms")
    return told


def _baseline(patient: Patient) -> str:
    if patient.is_real:
        return "not asked: it plays in the simulator"
    body = {"task_id": TASK, "agents": ["vllm_default"]}
    result = patient.ask("POST", "/baseline", body).json()["tasks"][TASK]["vllm_default"]
    return f"vllm_default scores {result['score']:.3f} on {TASK}"


def _socket(patient: Patient) -> str:
    address = "ws" + patient.url.rstrip("/").removeprefix("http") + "/ws"
    action = shipped_catalogue().get(TASK).default_action.model_dump(mode="json")
    messages: list[dict[str, Any]] = [
        {"type": "reset", "data": {"task_id": TASK, "seed": SEED}},
        *[{"type": "step", "data": action}] * patient.steps,
        {"type": "state"},
    ]
    try:
        with connect(address, proxy=None, open_timeout=TIMEOUT_S) as socket:
            took_ms = []
            for message in messages:
                began_s = time.perf_counter()
                socket.send(json.dumps(message))
                answer = json.loads(socket.recv(timeout=TIMEOUT_S))
                took_ms.append(1000 * (time.perf_counter() - began_s))
                if answer["type"] == "error":
                    raise IllError(f"{message['type']} was refused: {answer['data']}")
    except InvalidHandshake as error:
        raise IllError(f"no socket is opened: {error}") from error
    if answer["data"]["step_count"] != patient.steps:
        raise IllError(f"{patient.steps} steps were sent, state counts {answer['data']}")
    return f"{patient.steps} steps, {statistics.median(took_ms):.1f} ms at the median"


def _mcp(patient: Patient) -> str:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    body = patient.ask("POST", "/mcp", call).json()
    if "result" not in body:
        raise IllError(f"tools/list has no result: {body}")
    return f"{len(body['result']['tools'])} tools"


def _mcp_server(patient: Patient) -> str:
    """OpenEnv's /mcp knows no `initialize`; hosts of MCP begin with it, at /mcp-server."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "llmserve-doctor", "version": "1"},
        },
    }
    accepts = {"Accept": "application/json, text/event-stream"}
    response = patient.client.post("/mcp-server", json=hello, headers=accepts)
    if response.status_code != 200:
        raise IllError(f"initialize answered {response.status_code}, not 200")
    if session := response.headers.get("mcp-session-id"):
        patient.client.delete("/mcp-server", headers={"mcp-session-id": session} | accepts)
    return "initialize is answered"


def _splits(patient: Patient) -> str:
    splits = patient.ask("GET", f"/{ENVIRONMENT}/splits").json()
    counted = patient.ask("POST", f"/{ENVIRONMENT}/num_tasks", {"split": "test"}).json()
    names = ", ".join(split["name"] for split in splits)
    return f"{names}; {counted['num_tasks']:,} episodes to test on"


# In this order: later checks read what earlier ones learnt.
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("GET /health", _health),
    ("version", _version),
    ("GET /info", _info),
    ("GET /tasks", _tasks),
    ("GET /schema", _schema),
    ("GET /metadata", _page("/metadata")),
    ("GET /metrics", _page("/metrics")),
    ("GET /openapi.json", _page("/openapi.json")),
    ("GET /docs", _page("/docs")),
    ("GET /redoc", _page("/redoc")),
    ("GET /web, /demo", _web),
    ("POST /reset, /step, /grader", _play),
    ("latency", _latency),
    ("POST /baseline", _baseline),
    ("WS /ws", _socket),
    ("POST /mcp", _mcp),
    ("POST /mcp-server", _mcp_server),
    ("OpenEnv's splits", _splits),
)
