"""The gateway before a made-up server: what it sends when, and what it does about trouble."""

import asyncio
import math

import pytest

from server.real_calls import Call, Limits, Patience
from server.real_client import Answer, RequestFailedError
from server.real_clock import EpisodeClock
from server.real_failures import Failure, Trouble
from server.real_gateway import Gateway

NOW = ("FP16", False)
LONG_S = 1_000.0


class Server:
    """Keeps every call until it is told to answer it; `troubles` are raised first."""

    def __init__(self, *troubles):
        self.sent, self._troubles, self._open = [], list(troubles), {}

    async def send(self, deployment, call, on_tokens):
        self.sent.append((call.index, deployment))
        if self._troubles:
            raise RequestFailedError(self._troubles.pop(0))
        self._open[call.index] = asyncio.get_running_loop().create_future()
        tokens = await self._open[call.index]
        on_tokens(tokens)
        return Answer(None, tokens)

    async def answer(self, index, tokens=5):
        self._open[index].set_result(tokens)
        await settle()

    @property
    def order(self):
        return [index for index, _ in self.sent]


def limits(in_flight=8, tokens=None, by_class=False, deployment=NOW):
    return Limits(in_flight=in_flight, tokens=tokens, by_class=by_class, deployment=deployment)


def gateway_to(server, *, queue_timeout_s=LONG_S, purse=10**6, **changes):
    clock = EpisodeClock()
    clock.resume(LONG_S)
    patience = Patience(queue_timeout_s=queue_timeout_s, tokens=purse)
    return Gateway(server.send, clock, limits(**changes), patience), clock


def call(index, priority_class=1, prompt=10, output=5, arrival_s=0.0):
    return Call(index, priority_class, prompt, output, arrival_s)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def submit(gateway, *calls):
    for each in calls:
        gateway.submit(each)
    await settle()


def in_loop(test):
    def run():
        asyncio.run(asyncio.wait_for(test(), 20.0))

    run.__name__ = test.__name__
    return run


@in_loop
async def test_no_more_requests_are_in_flight_than_the_cap():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=2)

    await submit(gateway, call(0), call(1), call(2))

    assert server.order == [0, 1]
    assert [each.index for each in gateway.waiting] == [2]
    await gateway.close()


@in_loop
async def test_an_answer_makes_room_for_the_next():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=1)
    await submit(gateway, call(0), call(1))

    await server.answer(0)

    assert server.order == [0, 1]
    await gateway.close()


@in_loop
async def test_a_lower_cap_drains_down():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=3)
    await submit(gateway, call(0), call(1), call(2), call(3))

    gateway.set_limits(limits(in_flight=1))
    await server.answer(0)

    assert len(gateway.in_flight) == 2
    assert server.order == [0, 1, 2]
    await gateway.close()


@in_loop
async def test_the_highest_class_goes_first_where_priority_routing_is_on():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=1, by_class=True)
    await submit(gateway, call(0), call(1, priority_class=2), call(2, priority_class=0))

    await server.answer(0)

    assert server.order == [0, 2]
    await gateway.close()


@in_loop
async def test_the_earliest_goes_first_where_it_is_off():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=1)
    await submit(gateway, call(0), call(1, priority_class=2), call(2, priority_class=0))

    await server.answer(0)

    assert server.order == [0, 1]
    await gateway.close()


@in_loop
async def test_tokens_in_flight_stay_within_the_budget():
    server = Server()
    gateway, _ = gateway_to(server, tokens=30)

    await submit(gateway, call(0), call(1), call(2))

    assert server.order == [0, 1]
    assert gateway.tokens_in_flight == 30
    await gateway.close()


@in_loop
async def test_a_request_larger_than_the_token_budget_is_dropped_not_queued():
    server = Server()
    gateway, _ = gateway_to(server, tokens=14)

    await submit(gateway, call(0))

    events, _ = gateway.close_window()
    assert events.failures == {Failure.OVER_KV_BUDGET: 1}
    assert server.sent == []


@in_loop
async def test_a_new_tier_sends_what_comes_next_to_its_deployment():
    server = Server()
    gateway, _ = gateway_to(server)
    await submit(gateway, call(0))

    gateway.set_limits(limits(deployment=("INT8", False)))
    await submit(gateway, call(1))

    assert server.sent == [(0, NOW), (1, ("INT8", False))]
    await gateway.close()


@in_loop
async def test_a_rate_limited_request_is_sent_again_after_the_pause_that_the_server_names():
    server = Server(Trouble(Failure.RATE_LIMITED, 0.05))
    gateway, _ = gateway_to(server)
    await submit(gateway, call(0), call(1))

    before = list(server.order)
    await asyncio.sleep(0.15)

    assert before == [0, 1]
    assert server.order == [0, 1, 0]
    events, _ = gateway.close_window()
    assert events.retries == {Failure.RATE_LIMITED: 1}
    assert events.failures == {}
    await gateway.close()


@in_loop
async def test_a_request_is_given_up_after_three_attempts():
    server = Server(*[Trouble(Failure.OVERLOADED, 0.0)] * 3)
    gateway, _ = gateway_to(server)

    await submit(gateway, call(0))
    await asyncio.sleep(0.1)

    events, _ = gateway.close_window()
    assert server.order == [0, 0, 0]
    assert events.failures == {Failure.OVERLOADED: 1}


@in_loop
async def test_a_broken_connection_is_tried_again_at_once():
    server = Server(Trouble(Failure.CONNECTION))
    gateway, _ = gateway_to(server)

    await submit(gateway, call(0))

    assert server.order == [0, 0]
    await gateway.close()


@pytest.mark.parametrize(
    "failure",
    [Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.CUT_STREAM, Failure.MALFORMED],
)
def test_other_failures_cost_the_request(failure):
    async def play():
        server = Server(Trouble(failure))
        gateway, _ = gateway_to(server)
        await submit(gateway, call(0))
        return server.order, gateway.close_window()[0].failures

    order, failures = asyncio.run(play())

    assert order == [0]
    assert failures == {failure: 1}


@in_loop
async def test_after_a_refused_key_nothing_more_is_sent():
    server = Server(Trouble(Failure.UNAUTHORIZED))
    gateway, _ = gateway_to(server, in_flight=1)

    await submit(gateway, call(0), call(1))
    await submit(gateway, call(2))

    events, _ = gateway.close_window()
    assert server.order == [0]
    assert events.failures == {Failure.UNAUTHORIZED: 1, Failure.SERVER_UNUSABLE: 2}
    assert gateway.unusable is Failure.UNAUTHORIZED


@in_loop
async def test_clients_give_up_waiting_after_the_queue_time_out():
    server = Server()
    gateway, clock = gateway_to(server, in_flight=1, queue_timeout_s=5.0)
    await submit(gateway, call(0), call(1))

    clock.resume(6.0)
    clock.stop()
    events, _ = gateway.close_window()

    assert events.failures == {Failure.GAVE_UP_WAITING: 1}
    assert gateway.waiting == ()
    await gateway.close()


@in_loop
async def test_nothing_is_sent_that_the_episodes_tokens_would_not_pay():
    server = Server()
    gateway, _ = gateway_to(server, purse=29)

    await submit(gateway, call(0), call(1))

    events, _ = gateway.close_window()
    assert server.order == [0]
    assert events.failures == {Failure.OVER_TOKEN_BUDGET: 1}
    await gateway.close()


@in_loop
async def test_nothing_is_sent_while_the_clock_stands_still():
    server = Server()
    gateway, clock = gateway_to(server, in_flight=1)
    await submit(gateway, call(0), call(1))

    clock.stop()
    await server.answer(0)

    assert server.order == [0]
    await gateway.close()


@in_loop
async def test_tokens_are_those_that_the_server_counted():
    server = Server()
    gateway, _ = gateway_to(server)
    await submit(gateway, call(0, output=5))

    await server.answer(0, tokens=3)

    events, _ = gateway.close_window()
    assert events.output_tokens == 3
    assert events.decided[0].output_tokens == 3
    assert gateway.spent_tokens == 13


@in_loop
async def test_a_bug_of_the_client_is_not_swallowed():
    async def broken(*_):
        raise ZeroDivisionError

    server = Server()
    server.send = broken
    gateway, _ = gateway_to(server)

    await submit(gateway, call(0))

    with pytest.raises(ZeroDivisionError):
        gateway.close_window()


@in_loop
async def test_closing_cuts_what_is_in_flight():
    server = Server()
    gateway, _ = gateway_to(server, in_flight=1)
    await submit(gateway, call(0), call(1))

    await gateway.close()

    assert gateway.in_flight == ()
    assert server.order == [0]


def test_a_request_that_nothing_happened_to_has_no_times():
    assert math.isnan(call(0).first_token_s)
    assert not call(0).has_first_token
