"""The client of the control channel, against the plugin's own channel."""

import asyncio

import pytest
from pydantic import SecretStr

from server.real_vllm_control import VllmControl, VllmControlError
from tests.live_server import free_port
from tests.openai_server import openai_server
from tests.vllm_server import vllm_server


@pytest.fixture
def behind():
    with vllm_server() as server:
        yield server


def ask(url, *calls, holder="me", token=None):
    """What the last of these calls of a VllmControl returns."""

    async def talk():
        control = VllmControl(url, holder=holder, token=token)
        try:
            answers = [await call(control) for call in calls]
        finally:
            await control.close()
        return answers[-1]

    return asyncio.run(talk())


def test_the_state_has_what_is_in_force_and_its_bounds(behind):
    state = ask(behind.control_url, lambda control: control.read_state())

    assert state.in_force.batch_cap == 64
    assert state.bounds["speculation_depth"].maximum == 4
    assert state.engine.started_with.pool_tokens == 8000


def test_knobs_are_set_under_a_lease_and_restored(behind):
    changed = ask(behind.control_url, lambda c: c.set_knobs({"batch_cap": 4}, lease_s=20.0))
    restored = ask(behind.control_url, lambda c: c.restore())

    assert (changed.wanted.batch_cap, changed.lease.holder) == (4, "me")
    assert restored.is_default
    assert restored.lease.last_end == "released"


def test_a_lease_is_renewed(behind):
    state = ask(
        behind.control_url,
        lambda c: c.set_knobs({"batch_cap": 4}, lease_s=5.0),
        lambda c: c.renew_lease(lease_s=500.0),
    )

    assert state.lease.left_s > 400.0


def test_a_value_out_of_bounds_is_an_error_with_the_bounds(behind):
    with pytest.raises(VllmControlError, match=r"batch_cap must be in \[1, 64\]") as error:
        ask(behind.control_url, lambda c: c.set_knobs({"batch_cap": 65}, lease_s=5.0))
    assert error.value.reason == "INVALID_KNOBS"


def test_a_lease_of_somebody_else_is_an_error(behind):
    ask(behind.control_url, lambda c: c.set_knobs({"batch_cap": 4}, lease_s=50.0), holder="you")

    with pytest.raises(VllmControlError, match="'you' holds the lease") as error:
        ask(behind.control_url, lambda c: c.set_knobs({"batch_cap": 8}, lease_s=50.0))
    assert error.value.reason == "LEASE_HELD"


def test_a_channel_that_is_gone_is_unreachable():
    with pytest.raises(VllmControlError, match="no answer") as error:
        ask(f"http://127.0.0.1:{free_port()}", lambda c: c.read_state())
    assert error.value.reason == "unreachable"


def test_another_server_is_no_channel():
    with (
        openai_server() as other,
        pytest.raises(VllmControlError, match="is it llmserve-vllm's"),
    ):
        ask(other.url.removesuffix("/v1"), lambda c: c.read_state())


def test_a_wrong_token_is_refused_and_told_to_nobody():
    with vllm_server(token="right") as server:
        with pytest.raises(VllmControlError) as error:
            ask(server.control_url, lambda c: c.read_state(), token=SecretStr("wrong-one"))
        state = ask(server.control_url, lambda c: c.read_state(), token=SecretStr("right"))

    assert error.value.reason == "UNAUTHORIZED"
    assert "wrong-one" not in str(error.value)
    assert state.is_default
