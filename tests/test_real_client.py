"""The client against a server of this machine that fails as it is told."""

import asyncio
import logging

import pytest

from server.real_client import RealClient, RequestFailedError
from server.real_failures import Failure
from server.real_settings import RealSettings
from tests.openai_server import cut, error_event, fails, generates, hangs, malformed, says
from tests.openai_server import openai_server as running

KEY, PROMPT = "sk-secret-of-the-test", "unmistakable prompt"


@pytest.fixture(scope="module")
def server():
    with running() as started:
        yield started


def ask(server, *replies, tokens=6, provider="openai", timeout_s=20.0):
    """Answer, outputs as they came, and the failure of one request."""
    server.script("tiny", *replies)
    settings = RealSettings(
        mode="real",
        openai_api_key=KEY,
        real_provider=provider,
        real_model="tiny",
        real_base_url=server.url,
        real_request_timeout_s=timeout_s,
    )
    outputs = []

    async def play():
        client = RealClient(settings, server.url)
        try:
            return await client.generate(PROMPT, tokens, outputs.append), None
        except RequestFailedError as error:
            return None, error.trouble
        finally:
            await client.close()

    answer, trouble = asyncio.run(play())
    return answer, outputs, trouble


@pytest.mark.parametrize("provider", ["openai", "vllm"])
def test_an_answer_has_the_tokens_that_were_asked_for(server, provider):
    answer, outputs, _ = ask(server, generates(), provider=provider)

    assert answer.completion_tokens == 6
    assert answer.prompt_tokens > 0
    assert outputs == [1] * 6


def test_without_usage_the_servers_counts_are_unknown(server):
    answer, outputs, _ = ask(server, generates(has_usage=False))

    assert answer == (None, None)
    assert sum(outputs) == 6


def test_a_server_of_ones_own_is_asked_with_max_tokens(server):
    ask(server, generates())

    body = server.requests[-1]["body"]
    assert body["max_tokens"] == 6
    assert body["stream"] is True
    assert "ignore_eos" not in body


def test_vllm_is_asked_to_ignore_the_end_and_to_count_every_chunk(server):
    ask(server, generates(), provider="vllm")

    body = server.requests[-1]["body"]
    assert server.requests[-1]["path"] == "/v1/completions"
    assert body["ignore_eos"] is True
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (fails(401), Failure.UNAUTHORIZED),
        (fails(403), Failure.UNAUTHORIZED),
        (fails(404), Failure.UNKNOWN_MODEL),
        (fails(429), Failure.RATE_LIMITED),
        (fails(429, "insufficient_quota"), Failure.QUOTA_EXHAUSTED),
        (fails(400), Failure.CONTEXT_TOO_LONG),
        (fails(400, "invalid_value"), Failure.BAD_REQUEST),
        (fails(422), Failure.BAD_REQUEST),
        (fails(500), Failure.SERVER_ERROR),
        (fails(503), Failure.OVERLOADED),
        (cut(2), Failure.CUT_STREAM),
        (cut(0), Failure.CONNECTION),
        (malformed(2), Failure.MALFORMED),
        (error_event(2), Failure.STREAM_ERROR),
        (says(""), Failure.EMPTY_ANSWER),
        (says("no end in sight", finish_reason=None), Failure.CUT_STREAM),
    ],
)
def test_every_trouble_has_its_kind(server, reply, failure):
    _, _, trouble = ask(server, reply)

    assert trouble.failure is failure


@pytest.mark.parametrize(
    ("header", "pause_s"), [(0.25, 0.25), ("7", 7.0), ("soon", None), ("nan", None), (None, None)]
)
def test_the_pause_that_the_server_asks_for_is_read(server, header, pause_s):
    _, _, trouble = ask(server, fails(429, retry_after_s=header))

    assert trouble.retry_after_s == pause_s


@pytest.mark.parametrize("reply", [hangs(), generates(gap_s=0.05)])
def test_the_time_out_is_for_the_whole_request(server, reply):
    _, _, trouble = ask(server, reply, tokens=200, timeout_s=0.3)

    assert trouble.failure is Failure.TIMEOUT


def test_a_server_that_is_not_there_is_a_connection_that_fails():
    with running() as gone:
        pass

    _, _, trouble = ask(gone, generates())

    assert trouble.failure is Failure.CONNECTION


def test_neither_key_nor_prompt_is_logged_or_told(server, caplog):
    with caplog.at_level(logging.DEBUG):
        for reply in (generates(), fails(401), fails(400), cut(2), malformed(2)):
            _, _, trouble = ask(server, reply)

            assert KEY not in f"{trouble}"
            assert PROMPT not in f"{trouble}"

    assert KEY not in caplog.text
    assert PROMPT not in caplog.text
