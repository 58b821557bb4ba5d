"""A server with a token, small limits and a trusted proxy: what it refuses, and what it tells."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.live_server import ACTION, error_of, running_server

TOKEN = "correct-horse-battery"
KEY = "sk-canary-0123456789"
PASSWORD = "hunter2-canary"
SECRETS = (TOKEN, KEY, PASSWORD)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """URL and log of the server."""
    log_path = tmp_path_factory.mktemp("guarded") / "server.log"
    with running_server(
        log_path,
        LLMSERVE_TOKEN=TOKEN,
        OPENAI_API_KEY=KEY,
        OPENAI_BASE_URL=f"http://user:{PASSWORD}@127.0.0.1:9/v1",
        LLMSERVE_MAX_SESSIONS_PER_CLIENT="2",
        LLMSERVE_EXPENSIVE_REQUESTS_PER_MINUTE="2",
        LLMSERVE_STEP_REQUESTS_PER_MINUTE="500",
        LLMSERVE_TRUSTED_PROXIES="127.0.0.1",
        LLMSERVE_CORS_ORIGINS="https://example.org",
        LLMSERVE_LOG_FORMAT="json",
        LLMSERVE_LOG_LEVEL="debug",
        LLMSERVE_REQUEST_TIMEOUT_S="1",
    ) as url:
        yield url, log_path


@pytest.fixture
def visitor(guarded, request):
    """A client with the token, which the proxy says comes from an address of the test's own."""
    number = abs(hash(request.node.name)) % 250
    headers = BEARER | {"X-Forwarded-For": f"198.51.{number}.{len(request.node.name) % 250}"}
    with httpx.Client(base_url=guarded[0], headers=headers, trust_env=False, timeout=60) as client:
        yield client


def anonymous(guarded, path, **options):
    return httpx.get(guarded[0] + path, trust_env=False, timeout=60, **options)


def test_without_the_token_health_alone_is_open(guarded):
    refused = anonymous(guarded, "/tasks")

    assert anonymous(guarded, "/health").status_code == 200
    assert refused.status_code == 401
    assert error_of(refused)["code"] == "UNAUTHORIZED"
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert anonymous(guarded, "/metrics").status_code == 401
    assert anonymous(guarded, "/web/").status_code == 401


@pytest.mark.parametrize(
    "options",
    [{"headers": BEARER}, {"auth": ("anybody", TOKEN)}],
)
def test_a_program_sends_the_token_and_a_browser_sends_it_as_password(guarded, options):
    assert anonymous(guarded, "/info", **options).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer wrong", "Basic !!!", "Basic Zm9v", "Bearer \xff", TOKEN]
)
def test_a_wrong_token_is_refused(guarded, header):
    headers = {"Authorization": header.encode("latin-1")}

    assert anonymous(guarded, "/info", headers=headers).status_code == 401


def test_a_socket_without_the_token_is_refused_at_the_handshake(guarded):
    url = guarded[0].replace("http", "ws") + "/ws"

    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None):
        pass

    assert refused.value.response.status_code == 401
    with connect(url, proxy=None, additional_headers=BEARER) as socket:
        socket.send('{"type": "state"}')
        assert json.loads(socket.recv(timeout=60))["type"] == "state"


def test_the_third_expensive_request_of_a_minute_is_refused_with_the_seconds_to_wait(visitor):
    answers = [visitor.post("/grader", json={"session_id": "none"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert error_of(answers[2])["code"] == "RATE_LIMITED"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert visitor.get("/tasks").status_code == 200


def test_steps_on_a_socket_are_limited_and_the_socket_lives_on(guarded):
    headers = BEARER | {"X-Forwarded-For": "203.0.113.1"}
    url = guarded[0].replace("http", "ws") + "/ws"

    with connect(url, proxy=None, additional_headers=headers) as socket:
        codes = set()
        for _ in range(520):
            socket.send('{"type": "state"}')
            codes.add(json.loads(socket.recv(timeout=60))["data"].get("code"))

    assert codes == {None, "RATE_LIMITED"}


def test_a_client_holds_no_more_sessions_than_it_may_and_others_play_on(guarded, visitor):
    sessions = [visitor.post("/reset").json()["session_id"] for _ in range(2)]

    refused = visitor.post("/reset")

    assert refused.status_code == 429
    assert error_of(refused)["code"] == "TOO_MANY_SESSIONS"
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    other = BEARER | {"X-Forwarded-For": "203.0.113.2"}
    played = httpx.post(guarded[0] + "/reset", headers=other, trust_env=False, timeout=60)
    assert played.status_code == 200
    visitor.delete(f"/sessions/{sessions[0]}")
    assert visitor.post("/reset").status_code == 200


def test_without_a_name_a_step_never_acts_on_the_session_of_another_client(guarded, visitor):
    mine = visitor.post("/reset", json={"seed": 1}).json()["session_id"]
    other = BEARER | {"X-Forwarded-For": "203.0.113.3"}
    httpx.post(guarded[0] + "/reset", headers=other, trust_env=False, timeout=60)

    assert visitor.post("/step", json={"action": ACTION}).json()["session_id"] == mine
    assert visitor.get("/state").json()["session_id"] == mine


def test_a_language_model_costs_nothing_though_there_is_a_key(visitor):
    refused = visitor.get("/baseline", params={"use_openai": "true"})

    assert refused.status_code == 501
    assert "LLMSERVE_OPENAI_MAX_CALLS" in error_of(refused)["message"]


def test_pages_of_the_origins_that_are_named_may_call(guarded, visitor):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}

    allowed = httpx.options(guarded[0] + "/step", headers=asked, trust_env=False)
    foreign = visitor.get("/health", headers={"Origin": "https://example.com"})

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    assert "access-control-allow-origin" not in foreign.headers


def test_a_body_that_does_not_come_is_not_waited_for(guarded):
    host, port = guarded[0].removeprefix("http://").split(":")
    head = (
        f"POST /reset HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Length: 9\r\n\r\n"
    )

    assert raw_answer(host, int(port), head.encode()).startswith(b"HTTP/1.1 408")


def test_a_head_that_does_not_end_is_not_waited_for(guarded):
    host, port = guarded[0].removeprefix("http://").split(":")

    assert raw_answer(host, int(port), b"GET /health HTTP/1.1\r\nHo") == b""


def raw_answer(host, port, sent):
    import socket

    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(sent)
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


def test_every_line_of_the_log_is_json_and_tells_request_session_task_and_step(guarded, visitor):
    session_id = visitor.post("/reset", json={"seed": 1}).json()["session_id"]
    visitor.post("/step", json={"action": ACTION}, headers={"X-Request-ID": "my-request-1"})

    lines = [json.loads(line) for line in guarded[1].read_text().splitlines()]

    line = next(line for line in lines if line.get("request_id") == "my-request-1")
    assert line["message"] == "POST /step"
    assert line["session"] == session_id[:8]
    assert line["task"] == "static_workload"
    assert line["step"] == 1
    assert line["status"] == 200
    assert line["client"].startswith("198.51.")
    assert line["duration_ms"] > 0
    assert session_id not in guarded[1].read_text()


def test_no_secret_is_in_a_page_an_error_or_the_log(guarded, visitor):
    pages = ["/", "/info", "/tasks", "/schema", "/metadata", "/metrics", "/openapi.json", "/docs"]
    told = [visitor.get(page, follow_redirects=True).text for page in [*pages, "/web/config"]]
    told.append(visitor.get(f"/no/such/page?key={KEY}").text)
    told.append(visitor.post("/reset", json={"task_id": 3}).text)
    told.append(anonymous(guarded, "/info", headers={"Authorization": "Bearer x"}).text)
    told.append(anonymous(guarded, "/info", auth=("anybody", TOKEN)).text)

    told.append(guarded[1].read_text())

    assert [secret for secret in SECRETS for text in told if secret in text] == []


def rpc(visitor, method, path="/mcp", **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return visitor.post(path, json=body)


def test_sessions_opened_over_mcp_are_limited_like_those_of_sockets(visitor):
    opened = [rpc(visitor, "openenv/session/create").json() for _ in range(2)]

    refused = rpc(visitor, "openenv/session/create")
    closed = rpc(
        visitor, "openenv/session/close", session_id=opened[0]["result"]["session_id"]
    ).json()
    again = rpc(visitor, "openenv/session/create").json()
    metrics = visitor.get("/metrics").text

    assert refused.status_code == 429
    assert error_of(refused)["code"] == "TOO_MANY_SESSIONS"
    assert refused.headers["Retry-After"] == "1"
    assert closed["result"]["closed"] is True
    assert "session_id" in again["result"]
    assert 'llmserve_sessions{transport="mcp"} 2.0' in metrics
    for each in (opened[1], again):
        rpc(visitor, "openenv/session/close", session_id=each["result"]["session_id"])


@pytest.mark.parametrize("path", ["/mcp", "/mcp-server"])
def test_grades_asked_for_over_mcp_are_as_expensive_as_others(visitor, path):
    answers = [rpc(visitor, "tools/call", path, name="grade", arguments={}) for _ in range(3)]

    assert answers[2].status_code == 429
    assert error_of(answers[2])["code"] == "RATE_LIMITED"
    assert 429 not in [answer.status_code for answer in answers[:2]]


def test_grades_asked_for_on_a_socket_are_as_expensive_as_others(guarded):
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "grade"}}
    headers = BEARER | {"X-Forwarded-For": "203.0.113.9"}
    url = guarded[0].replace("http", "ws")

    with connect(url + "/mcp", proxy=None, additional_headers=headers) as socket:
        answers = []
        for _ in range(3):
            socket.send(json.dumps(call))
            answers.append(json.loads(socket.recv(timeout=60)))
    with connect(url + "/ws", proxy=None, additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "mcp", "data": call}))
        other = json.loads(socket.recv(timeout=60))

    assert all("RATE_LIMITED" not in json.dumps(answer) for answer in answers[:2])
    assert answers[2]["id"] == 7
    assert answers[2]["error"]["data"] == {"code": "RATE_LIMITED"}
    assert other["data"]["code"] == "RATE_LIMITED"
