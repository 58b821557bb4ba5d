"""`llmserve doctor` and `llmserve serve`: what is well is green, the rest is red."""

import json
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from llmserve_env.tasks import shipped_catalogue
from server.cli.checkups import CHECKS
from tests.test_cli import call

ROOT = Path(__file__).parents[1]


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with the same list, which no server of ours would."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[1, 2]")

    def do_POST(self):
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def stranger_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def examined(*options):
    result = call("doctor", "--json", *options)
    told = json.loads(result.stdout)
    return result.exit_code, told, {row["check"]: row for row in told["checks"]}


def test_a_server_that_is_well_is_green_throughout(server_url):
    status, told, checks = examined("--url", server_url, "--max-latency-ms", 60000)

    assert [row for row in told["checks"] if not row["is_ok"]] == []
    assert (status, told["is_ok"], told["url"]) == (0, True, server_url)
    assert list(checks) == [name for name, _ in CHECKS]
    assert checks["version"]["detail"] == "both 0.2.0"
    assert "20 steps" in checks["WS /ws"]["detail"]


def test_the_doctor_leaves_no_session_behind(server_url, http):
    before = http.get("/health").json()["active_sessions"]

    call("doctor", "--url", server_url)

    assert http.get("/health").json()["active_sessions"] == before


def test_another_version_is_red(server_url, monkeypatch):
    newer = shipped_catalogue().model_copy(update={"environment_version": "9.9.9"})
    monkeypatch.setattr("server.cli.checkups.shipped_catalogue", lambda: newer)

    status, _, checks = examined("--url", server_url)

    assert status == 1
    assert checks["version"]["is_ok"] is False
    assert "the server runs 0.2.0, this command is 9.9.9" in checks["version"]["detail"]
    assert checks["WS /ws"]["is_ok"] is True


def test_a_server_that_is_too_slow_is_red(server_url):
    status, _, checks = examined("--url", server_url, "--max-latency-ms", 0.001)

    assert status == 1
    assert "more than 0.001 ms" in checks["latency"]["detail"]


def test_a_server_of_another_kind_is_red_and_breaks_nothing(stranger_url):
    status, told, checks = examined("--url", stranger_url)

    assert status == 1
    assert told["is_ok"] is False
    assert "not of this form" in checks["GET /health"]["detail"]
    assert checks["WS /ws"]["is_ok"] is False


def test_red_and_green_are_told_in_words_too(stranger_url):
    result = call("doctor", "--url", stranger_url)

    assert "BAD" in result.stdout
    assert "checks are bad" in result.stdout


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--url", "http://127.0.0.1:9"], 3, "no server answers at http://127.0.0.1:9"),
        (["--url", "localhost:7860"], 2, "--url must be like http://127.0.0.1:7860"),
        (["--url", "http://[::"], 2, "--url"),
        (["--max-latency-ms", "0"], 2, "must be above 0 and at most 60000, got 0"),
    ],
)
def test_who_cannot_be_examined_is_told_in_a_line(options, status, words):
    result = call("doctor", *options)

    assert result.exit_code == status
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "65536"], "--port must be 0 to 65535, got 65536"),
        (["--port", "0", "--mode", "real"], "LLMSERVE_MODE=real needs"),
        (["--port", "0", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1, port 0"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_loaded(options, words, monkeypatch):
    for name in ("LLMSERVE_HOST", "LLMSERVE_MODE", "PORT"):
        monkeypatch.setenv(name, "sim" if name == "LLMSERVE_MODE" else "0")

    result = call("serve", *options)

    assert result.exit_code == 2
    assert words in result.stderr


def test_a_port_that_is_taken_is_told_at_once(server_url, monkeypatch):
    for name in ("LLMSERVE_HOST", "PORT"):
        monkeypatch.setenv(name, "0")
    port = httpx.URL(server_url).port

    result = call("serve", "--port", port)

    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in result.stderr


@pytest.mark.slow
def test_the_server_says_where_it_listens_and_stops_when_told():
    command = [sys.executable, "-m", "llmserve_env", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        told = json.loads("".join(process.stdout.readline() for _ in range(4)))
        health = httpx.get(f"{told['url']}/health", trust_env=False).json()
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[0]

    assert health["status"] == "healthy"
    assert told["mode"] == "sim"
    assert rest == ""
