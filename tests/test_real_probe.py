"""What is asked of a server before an episode, with a made-up client."""

import asyncio

import pytest

from llmserve_env.errors import RealServerError
from server import real_probe
from server.real_client import Answer, RequestFailedError
from server.real_failures import Failure, Trouble
from server.real_prompts import PromptScale, make_prompt
from server.real_settings import RealSettings
from simulator.rng import stream
from tests.builders import task

URL = "http://me:secret@127.0.0.1:1/v1"


class Client:
    """Counts two tokens a word and 30 for the template; answers at once."""

    def __init__(self, failure=None, tells_usage=True, delay_s=0.0):
        self._failure, self._tells_usage, self._delay_s = failure, tells_usage, delay_s

    async def generate(self, prompt, max_tokens, on_tokens=None):
        await asyncio.sleep(self._delay_s)
        if self._failure is not None:
            raise RequestFailedError(Trouble(self._failure))
        if on_tokens is not None:
            on_tokens(max_tokens)
        prompt_tokens = 30 + 2 * len(prompt.split()) if self._tells_usage else None
        return Answer(prompt_tokens, max_tokens)


def test_the_tokenizer_is_measured_with_two_prompts():
    scale = asyncio.run(real_probe.measure_prompt_scale(Client(), URL))

    assert scale == PromptScale(fixed_tokens=30.0, tokens_per_word=2.0)
    assert scale.words(130) == 50
    assert scale.words(5) == 1


def test_without_usage_a_word_counts_as_a_token():
    scale = asyncio.run(real_probe.measure_prompt_scale(Client(tells_usage=False), URL))

    assert scale == PromptScale()


def test_a_server_that_fails_is_named_without_its_password():
    with pytest.raises(RealServerError, match=r"http://127.0.0.1:1 .* server_error") as refused:
        asyncio.run(real_probe.check_alive(Client(Failure.SERVER_ERROR), URL))

    assert "secret" not in str(refused.value)


def test_an_answer_without_text_is_a_sign_of_life():
    asyncio.run(real_probe.check_alive(Client(Failure.EMPTY_ANSWER), URL))


def test_a_server_of_twice_the_speed_gets_more_requests(monkeypatch):
    monkeypatch.setattr(real_probe, "PROBE_S", 0.4)
    settings = RealSettings(real_model="tiny", real_base_url=URL)

    def scale(delay_s):
        client = Client(delay_s=delay_s)
        measuring = real_probe.measure_rate_scale(client, task(), settings, PromptScale())
        return asyncio.run(measuring)

    assert scale(0.02) > scale(0.2) > 0.0


def test_a_server_without_a_token_has_no_capacity(monkeypatch):
    monkeypatch.setattr(real_probe, "PROBE_S", 0.1)
    settings = RealSettings(real_model="tiny", real_base_url=URL)
    client = Client(Failure.SERVER_ERROR)

    with pytest.raises(RealServerError, match="no token came"):
        asyncio.run(real_probe.measure_rate_scale(client, task(), settings, PromptScale()))


def test_prompts_have_the_words_asked_for_and_follow_from_the_seed():
    first = make_prompt(20, stream(1, "a"))

    assert len(first.split()) == 20
    assert first == make_prompt(20, stream(1, "a"))
    assert first != make_prompt(20, stream(2, "a"))
