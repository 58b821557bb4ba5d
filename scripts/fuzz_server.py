"""Sends a server whatever its schema allows, and much that it does not; counts failures and hangs.

    uv run python -m scripts.fuzz_server [--requests 20000] [--messages 80000] [--seed 0] [--write]

schemathesis makes requests from the OpenAPI schema, valid and invalid; hypothesis makes messages
for /ws. A failure is a status of 500 or more that is not meant, a socket that is closed, or a hang:
no answer though the server was given CHANCES times ten seconds. An answer that took more than one
is late; on a machine that others use, so is one whose server had no CPU. Exit status 1 if anything
failed. `--write` puts the result into docs/reliability.md, `--add` adds it there to what other
seeds have found.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from warnings import catch_warnings, simplefilter

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from scripts.fuzz_messages import any_message
from scripts.local_server import LocalServer, local_server
from scripts.reliability_report import known_result, write_section

CHANCE_S: Final = 10.0
CHANCES: Final = 6
SHOWN_FAILURES: Final = 10
LONGEST_CONVERSATION: Final = 40
MEAN_CONVERSATION: Final = 6
# Seeds of the parts of one run; runs with other seeds below that share none.
PART_SEEDS: Final = 1_000_000
# No limits: it is the handlers that are tried here.
UNLIMITED: Final = {
    "LLMSERVE_EXPENSIVE_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_RESET_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_STEP_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_MAX_SESSIONS": "64",
    "LLMSERVE_BASELINE_TIMEOUT_S": "1",
    "LLMSERVE_LOG_LEVEL": "warning",
}
# These say on purpose that the server will not, or not now.
MEANT: Final = frozenset({"NOT_AVAILABLE", "SERVER_BUSY", "BASELINE_TIMEOUT"})


@dataclass(slots=True)
class Tally:
    """What came of many requests or messages.

    Attributes:
        sent: All of them.
        answers: By status, or by type and code.
        failures: The first few, in words.
        failed: How many there were.
        hangs: Of them, those without an answer.
        late: Answers that took more than one chance; no failures.
        slowest_s: The longest wait for an answer.
    """

    sent: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    hangs: int = 0
    late: int = 0
    slowest_s: float = 0.0

    def count(self, answer: str) -> None:
        """Count an answer."""
        self.answers[answer] = self.answers.get(answer, 0) + 1

    def fail(self, what: str) -> None:
        """Count a failure."""
        self.failed += 1
        if len(self.failures) < SHOWN_FAILURES:
            self.failures.append(what[:400])


def fuzz_http(server: LocalServer, requests: int, seed: int) -> Tally:
    """So many requests, spread over all operations of the schema."""
    tally = Tally()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    results = list(schema.get_all_operations())
    operations = [result.ok() for result in results if isinstance(result, Ok)]
    each = -(-requests // (2 * len(operations)))
    with httpx.Client(base_url=server.url, trust_env=False, timeout=CHANCE_S) as client:
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                strategy = operation.as_strategy(generation_mode=mode)
                _run(strategy, each, seed, lambda case: _try_case(client, case, tally))
    return tally


def _run(strategy: Any, examples: int, seed: int, attempt: Callable[[Any], None]) -> None:
    @hypothesis_seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def every(example: Any) -> None:
        attempt(example)

    with suppress(Unsatisfiable):  # a route that takes nothing has no wrong requests
        every()


def _try_case(client: httpx.Client, case: Any, tally: Tally) -> None:
    content = case.as_transport_kwargs(base_url=str(client.base_url))
    content.pop("cookies", None)
    began_s = time.perf_counter()
    tally.sent += 1
    what = f"{case.method} {case.formatted_path} {str(content)[:200]}"
    try:
        response = _answer(client, _for_httpx(content), tally)
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError, httpx.LocalProtocolError):
        tally.count("not sendable")
        return
    except httpx.TimeoutException:
        tally.hangs += 1
        tally.fail(f"no answer: {what}")
        return
    except httpx.TransportError as error:
        tally.fail(f"{error!r}: {what}")
        return
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - began_s)
    tally.count(str(response.status_code))
    if (
        response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        and _code_of(response) not in MEANT
    ):
        tally.fail(f"{response.status_code}: {what}: {response.text[:200]}")


def _answer(client: httpx.Client, content: dict[str, Any], tally: Tally) -> httpx.Response:
    """The answer; asked for again where none came, as it is the machine that may be slow."""
    for chance in range(CHANCES):
        try:
            response = client.request(**content)
        except httpx.TimeoutException:
            continue
        tally.late += chance > 0
        return response
    raise httpx.ReadTimeout(f"no answer within {CHANCES} times {CHANCE_S:g} s")


def _for_httpx(content: dict[str, Any]) -> dict[str, Any]:
    """What schemathesis would hand to `requests`, in httpx's words."""
    data = content.pop("data", None)
    if data is not None:
        content["content"] = data if isinstance(data, str | bytes) else str(data)
    return {key: value for key, value in content.items() if value is not None}


def _code_of(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def fuzz_socket(server: LocalServer, messages: int, seed: int) -> Tally:
    """So many messages over one socket after another."""
    tally = Tally()
    sockets: list[ClientConnection] = []
    with ExitStack() as opened:

        def attempt(conversation: list[str | bytes]) -> None:
            for message in conversation:
                if tally.sent >= messages:
                    return
                if not sockets:
                    socket = connect(server.socket_url, proxy=None, max_size=None)
                    sockets.append(opened.enter_context(socket))
                _try_message(sockets, message, tally)

        conversations = st.lists(any_message(), min_size=1, max_size=LONGEST_CONVERSATION)
        part = 0
        while tally.sent < messages:
            left = messages - tally.sent
            _run(conversations, -(-left // MEAN_CONVERSATION), seed + PART_SEEDS * part, attempt)
            part += 1
    return tally


def _try_message(sockets: list[ClientConnection], message: str | bytes, tally: Tally) -> None:
    began_s = time.perf_counter()
    tally.sent += 1
    try:
        sockets[0].send(message)
        answer = json.loads(_received(sockets[0], tally))
    except ConnectionClosed as closed:
        sockets.clear()
        closed_with = None if closed.rcvd is None else closed.rcvd.code
        tally.count(f"closed {closed_with}")
        if '"close"' not in str(message):
            tally.fail(f"closed with {closed_with}: {message[:200]!r}")
        return
    except TimeoutError:
        sockets.clear()
        tally.hangs += 1
        tally.fail(f"no answer: {message[:200]!r}")
        return
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - began_s)
    data = answer.get("data") or {}
    code = data.get("code", "") if answer["type"] == "error" else ""
    tally.count(f"{answer['type']} {code}".strip())
    if code in ("EXECUTION_ERROR", "INTERNAL_SERVER_ERROR"):
        tally.fail(f"{data.get('message')}: {message[:200]!r}")


def _received(socket: ClientConnection, tally: Tally) -> str | bytes:
    for chance in range(CHANCES):
        with suppress(TimeoutError):
            received = socket.recv(timeout=CHANCE_S)
            tally.late += chance > 0
            return received
    raise TimeoutError


def added(known: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Both results as one."""
    if known is None:
        return dict(more)
    whole: dict[str, Any] = {"seeds": [*known["seeds"], *more["seeds"]]}
    for where in ("http", "ws"):
        one, other = known[where], more[where]
        names = sorted({*one["answers"], *other["answers"]})
        whole[where] = {
            name: one[name] + other[name] for name in ("sent", "failures", "failed", "hangs")
        } | {
            "late": one.get("late", 0) + other["late"],
            "answers": {
                name: one["answers"].get(name, 0) + other["answers"].get(name, 0) for name in names
            },
            "slowest_s": max(one["slowest_s"], other["slowest_s"]),
        }
    whole["alive"] = known["alive"] and more["alive"]
    whole["tracebacks"] = known["tracebacks"] + more["tracebacks"]
    return whole


def main(argv: Sequence[str]) -> int:
    """0 if nothing failed, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    parser.add_argument("--add", action="store_true", help="the same, beside what is there")
    arguments = parser.parse_args(argv)
    with (
        catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
        local_server(Path(folder) / "log", **UNLIMITED) as server,
    ):
        simplefilter("ignore")  # of what is generated, not of what is tried
        result: dict[str, Any] = {
            "seeds": [arguments.seed],
            "http": asdict(fuzz_http(server, arguments.requests, arguments.seed)),
            "ws": asdict(fuzz_socket(server, arguments.messages, arguments.seed)),
        }
        result["alive"] = httpx.get(f"{server.url}/health", trust_env=False).is_success
        result["tracebacks"] = server.log_path.read_text(errors="replace").count("Traceback")
    print(json.dumps(result, indent=1))
    if arguments.write or arguments.add:
        write_section("fuzz", added(known_result("fuzz"), result) if arguments.add else result)
    failed = result["http"]["failed"] + result["ws"]["failed"]
    return 0 if failed == 0 and result["alive"] and result["tracebacks"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
