"""The lease: a setting lasts as long as somebody answers for it."""

import threading

import pytest
from llmserve_vllm.control import KnobControl
from llmserve_vllm.knobs import RefusedError

from tests.test_vllm_plugin_knobs import facts


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def control(clock):
    return KnobControl(facts().defaults, facts().bounds, clock=clock)


def settle(control):
    """What the scheduler does before a step."""
    knobs = control.due()
    if knobs is not None:
        control.note_in_force(knobs)
    return knobs


def test_nothing_is_due_before_somebody_asks(control):
    assert control.due() is None
    assert control.state()["is_default"]


def test_a_change_is_due_once(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)

    assert settle(control).batch_cap == 4
    assert settle(control) is None
    assert control.state()["in_force"]["batch_cap"] == 4


def test_a_second_change_keeps_the_first(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    control.set({"speculation_depth": 0}, holder="me", lease_s=10.0)

    assert (control.due().batch_cap, control.due().speculation_depth) == (4, 0)


def test_the_defaults_are_due_when_the_lease_ran_out(control, clock):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    settle(control)
    clock.now_s += 10.0

    assert settle(control) == facts().defaults
    assert control.state()["lease"] == {"holder": None, "left_s": None, "last_end": "expired"}


def test_a_renewed_lease_lasts(control, clock):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    settle(control)
    clock.now_s += 9.0
    control.renew(holder="me", lease_s=10.0)
    clock.now_s += 9.0

    assert control.due() is None
    assert control.state()["lease"]["left_s"] == 1.0


def test_a_lease_that_ran_out_cannot_be_renewed(control, clock):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    clock.now_s += 11.0

    with pytest.raises(RefusedError, match="vLLM's defaults were restored") as refused:
        control.renew(holder="me", lease_s=10.0)
    assert (refused.value.status, refused.value.code) == (410, "LEASE_ENDED")


def test_releasing_brings_the_defaults_back(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    settle(control)

    control.release(holder="me")

    assert settle(control) == facts().defaults


def test_nobody_else_moves_knobs_or_gives_them_back(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)

    with pytest.raises(RefusedError, match=r"'me' holds the lease for another 10\.0 s"):
        control.set({"batch_cap": 8}, holder="you", lease_s=10.0)
    with pytest.raises(RefusedError, match="'me' holds the lease"):
        control.release(holder="you")


def test_somebody_else_may_when_the_lease_ran_out(control, clock):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    clock.now_s += 10.5

    control.set({"speculation_depth": 2}, holder="you", lease_s=10.0)

    assert (control.due().batch_cap, control.due().speculation_depth) == (64, 2)


@pytest.mark.parametrize(
    ("holder", "lease_s", "message"),
    [("", 10.0, "holder must have"), ("me", 0.0, "lease_s"), ("me", 4000.0, "at most 3600")],
)
def test_a_lease_without_holder_or_end_is_refused(control, holder, lease_s, message):
    with pytest.raises(RefusedError, match=message):
        control.set({"batch_cap": 4}, holder=holder, lease_s=lease_s)


def test_who_waits_is_woken_by_the_scheduler(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)
    scheduler = threading.Thread(target=settle, args=(control,))
    scheduler.start()

    assert control.wait_until_in_force(5.0)
    scheduler.join()


def test_who_waits_for_an_engine_that_takes_no_step_is_told_so(control):
    control.set({"batch_cap": 4}, holder="me", lease_s=10.0)

    assert not control.wait_until_in_force(0.01)
    assert control.state()["is_pending"]
