"""The control channel over HTTP, the version check, and the options of the start."""

import http.client
import json
import threading

import pytest
from llmserve_vllm import scheduler
from llmserve_vllm.control import KnobControl
from llmserve_vllm.http_channel import ControlServer
from llmserve_vllm.options import ChannelOptions, read_options
from llmserve_vllm.versions import UnsupportedVllmError, require_supported_vllm

from tests.test_vllm_plugin_knobs import facts

JSON = {"Content-Type": "application/json"}
CHANGE = {"knobs": {"batch_cap": 4}, "holder": "me", "lease_s": 10}


class Channel:
    """A channel of an engine that is idle unless told otherwise."""

    def __init__(self, token=None):
        self.is_idle = True
        self.control = KnobControl(facts().defaults, facts().bounds)
        self.server = ControlServer(
            self.control, lambda: {"is_idle": self.is_idle}, port=0, token=token
        )

    def ask(self, method, path, body=None, headers=JSON):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        text = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, text, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer


@pytest.fixture
def channel():
    channel = Channel()
    yield channel
    channel.server.close()


@pytest.fixture
def guarded():
    channel = Channel(token="a-token")
    yield channel
    channel.server.close()


def test_the_state_tells_what_is_in_force_the_bounds_and_the_lease(channel):
    status, state = channel.ask("GET", "/state")

    assert status == 200
    assert state["in_force"]["batch_cap"] == 64
    assert state["bounds"]["batch_cap"]["set_by"] == "--max-num-seqs"
    assert state["lease"]["holder"] is None
    assert state["engine"] == {"is_idle": True}


def test_a_change_at_an_idle_engine_is_pending_until_its_next_step(channel):
    status, state = channel.ask("PUT", "/knobs", CHANGE)

    assert (status, state["wanted"]["batch_cap"], state["is_pending"]) == (200, 4, True)


def test_a_change_at_a_busy_engine_is_answered_when_it_is_in_force(channel):
    channel.is_idle, done = False, threading.Event()

    def take_steps():
        while not done.wait(0.005):
            if (knobs := channel.control.due()) is not None:
                channel.control.note_in_force(knobs)

    engine = threading.Thread(target=take_steps)
    engine.start()
    _, state = channel.ask("PUT", "/knobs", CHANGE)
    done.set()
    engine.join()

    assert (state["in_force"]["batch_cap"], state["is_pending"]) == (4, False)


def test_a_lease_is_renewed_and_given_back(channel):
    channel.ask("PUT", "/knobs", CHANGE)

    renewed, state = channel.ask("POST", "/lease", {"holder": "me", "lease_s": 600})
    released, after = channel.ask("DELETE", "/lease", {"holder": "me"})

    assert (renewed, released) == (200, 200)
    assert state["lease"]["left_s"] > 500
    assert after["is_default"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("PUT", "/knobs", {**CHANGE, "knobs": {"batch_cap": 99}}, JSON, 400, "INVALID_KNOBS"),
        ("PUT", "/knobs", {"knobs": {}}, JSON, 400, "INVALID_BODY"),
        ("PUT", "/knobs", {**CHANGE, "lease_s": "long"}, JSON, 400, "INVALID_LEASE"),
        ("PUT", "/knobs", {**CHANGE, "holder": 7}, JSON, 400, "INVALID_LEASE"),
        ("PUT", "/knobs", {**CHANGE, "lease_s": float("nan")}, JSON, 400, "INVALID_LEASE"),
        ("PUT", "/knobs", b"{", JSON, 400, "NOT_JSON"),
        ("PUT", "/knobs", b"[]", JSON, 400, "NOT_JSON"),
        ("PUT", "/knobs", CHANGE, {"Content-Type": "text/plain"}, 415, "NOT_JSON"),
        ("PUT", "/knobs", b" " * 70_000, JSON, 413, "PAYLOAD_TOO_LARGE"),
        ("POST", "/lease", {"holder": "me", "lease_s": 5}, JSON, 410, "LEASE_ENDED"),
        ("GET", "/other", None, JSON, 404, "NOT_FOUND"),
        ("GET", "/state", None, {"Host": "evil.example:80"}, 403, "FORBIDDEN"),
    ],
)
def test_what_cannot_be_granted_is_refused_in_one_shape(
    channel, method, path, body, headers, status, code
):
    got, answer = channel.ask(method, path, body, headers)

    assert (got, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"code", "message", "details"}


def test_a_second_controller_is_refused(channel):
    channel.ask("PUT", "/knobs", CHANGE)

    status, answer = channel.ask("PUT", "/knobs", {**CHANGE, "holder": "you"})

    assert (status, answer["error"]["code"]) == (409, "LEASE_HELD")


def test_a_guarded_channel_answers_only_who_bears_its_token(guarded):
    without, refused = guarded.ask("GET", "/state")
    wrong, _ = guarded.ask("GET", "/state", headers={"Authorization": "Bearer b-token"})
    right, _ = guarded.ask("GET", "/state", headers={"Authorization": "Bearer a-token"})

    assert (without, wrong, right) == (401, 401, 200)
    assert "a-token" not in json.dumps(refused)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.3+cpu", "0.32"])
def test_the_version_it_was_written_against_is_supported(version):
    require_supported_vllm(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.32.0", "none", "dev"])
def test_any_other_version_is_refused_by_name(version):
    with pytest.raises(UnsupportedVllmError, match=rf"vllm>=0.32,<0.33, found {version}"):
        require_supported_vllm(version)


def test_asking_for_the_scheduler_without_vllm_says_what_is_missing():
    with pytest.raises(UnsupportedVllmError, match="found none"):
        scheduler.__getattr__("TunableScheduler")


def test_an_unknown_scheduler_is_no_attribute():
    with pytest.raises(AttributeError, match="TunableScheduler and TunableAsyncScheduler"):
        scheduler.__getattr__("Scheduler")


def test_options_are_read_from_additional_config(tmp_path):
    (tmp_path / "token").write_text("a-token\n")
    given = {"llmserve": {"control_port": 9001, "token_file": str(tmp_path / "token")}}

    assert read_options(given) == ChannelOptions(9001, "a-token")
    assert read_options({}) == ChannelOptions(8900, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"control_port": 0}, r"in \[1, 65535\], got 0"),
        ({"port": 9001}, "control_port and token_file alone"),
        ({"token_file": "/does/not/exist"}, "cannot be read: No such file"),
    ],
)
def test_wrong_options_stop_the_start(given, message):
    with pytest.raises(ValueError, match=message):
        read_options({"llmserve": given})
