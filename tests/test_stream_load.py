import asyncio

import pytest

from scripts.stream_load import Load, PlannedRequest, TimedRequest, send, settings_for
from server.real_client import RealClient
from server.real_prompts import PromptScale
from tests.openai_server import fails, generates
from tests.openai_server import openai_server as running


def played(plan, *replies):
    with running() as server:
        server.script("tiny", *replies)

        async def play():
            client = RealClient(settings_for(server.url, "tiny"), server.url)
            try:
                return await send(client, PromptScale(), plan, seed=0)
            finally:
                await client.close()

        return asyncio.run(play())


def test_every_request_is_sent_when_due_and_its_outputs_are_timed():
    load = played([PlannedRequest(0.0, 5, 3), PlannedRequest(0.2, 5, 4)], generates(gap_s=0.01))

    first, second = load.requests
    assert (first.output_tokens, second.output_tokens) == (3, 4)
    assert len(first.chunk_s) == 3
    assert second.chunk_s[0] >= 0.2
    # The server waits 10 ms; what is read late in one gap is missing in the next.
    assert first.tpot_s >= 0.005
    assert load.failures == 0


def test_a_failed_request_is_told_by_kind_and_makes_the_run_invalid():
    load = played([PlannedRequest(0.0, 5, 3)], fails(500))

    assert load.requests[0].failure == "server_error"
    assert not load.is_valid


def test_times_count_from_when_a_request_was_due():
    request = TimedRequest(1.0, 10, 3, chunk_s=[1.5, 1.6, 1.8])

    assert request.ttft_s == 0.5
    assert request.tpot_s == pytest.approx(0.15)
    assert request.finish_s == 1.8


def test_a_run_of_a_starved_client_is_invalid():
    assert Load((), lag_s=0.04, starved_fraction=0.0).is_valid
    assert not Load((), lag_s=0.4, starved_fraction=0.3).is_valid
