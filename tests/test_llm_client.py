"""The client against a real server that fails in every way it can."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agents.llm_calls import Answer, CallFailedError, Failure, Prompt
from agents.llm_client import FORMS, OpenAIChat, retry_after_s, within
from agents.llm_settings import LlmSettings
from llmserve_env.errors import NotAvailableError
from tests.openai_server import (
    calls,
    cut,
    error_event,
    fails,
    hangs,
    malformed,
    openai_server,
    says,
)

KEY = "sk-not-to-be-seen"
PROMPT = Prompt(system="briefing-not-to-be-seen", user="now", tool={"type": "object"})


@pytest.fixture(scope="module")
def server():
    with openai_server() as running:
        yield running


def chat_of(server, *replies, model="model", timeout_s=5.0):
    server.requests.clear()
    if replies:
        server.script(model, *replies)
    settings = LlmSettings(timeout_s=timeout_s)
    return OpenAIChat(model, settings, api_key=KEY, base_url=server.url)


def failure_of(chat):
    with pytest.raises(CallFailedError) as failed:
        chat.ask(PROMPT)
    return failed.value


def test_a_tool_call_is_handed_on_with_its_tokens(server):
    answer = chat_of(server, calls({"batch_cap": 64})).ask(PROMPT)

    assert answer.arguments == '{"batch_cap": 64}'
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens == 1


def test_the_tool_is_asked_for_by_name_and_the_answer_is_bounded(server):
    chat_of(server, calls({})).ask(PROMPT)

    body = server.requests[0]["body"]
    assert body["tool_choice"]["function"]["name"] == "set_config"
    assert body["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert body["max_completion_tokens"] == 2048


def test_text_is_handed_on_unread_and_tokens_that_are_not_told_are_none(server):
    answer = chat_of(server, says("raise the cap", has_usage=False)).ask(PROMPT)

    assert answer == Answer(text="raise the cap")


def test_a_call_of_another_tool_is_not_taken_for_ours(server):
    assert chat_of(server, calls({"x": 1}, name="other")).ask(PROMPT).arguments is None


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (fails(401), Failure.AUTHENTICATION),
        (fails(403), Failure.AUTHENTICATION),
        (fails(404), Failure.UNKNOWN_MODEL),
        (fails(429), Failure.RATE_LIMITED),
        (fails(429, "insufficient_quota"), Failure.QUOTA),
        (fails(400), Failure.CONTEXT_TOO_LONG),
        (fails(400, "unsupported"), Failure.REFUSED),
        (fails(422, "unsupported"), Failure.REFUSED),
        (fails(500), Failure.SERVER_ERROR),
        (fails(503), Failure.SERVER_ERROR),
        (cut(), Failure.CONNECTION),
        (malformed(), Failure.MALFORMED),
        (says("", has_choices=False), Failure.MALFORMED),
    ],
)
def test_every_failure_has_its_kind_and_tells_neither_key_nor_prompt(server, reply, kind):
    failed = failure_of(chat_of(server, reply))

    assert failed.kind is kind
    assert str(failed) == kind.value
    assert failed.__cause__ is None
    # What is refused is asked for in every other way, too.
    assert len(server.requests) == (len(FORMS) if kind is Failure.REFUSED else 1)


def test_a_model_that_the_server_does_not_have_is_unknown(server):
    assert failure_of(chat_of(server, model="no-such-model")).kind is Failure.UNKNOWN_MODEL


def test_nobody_there_is_a_failed_connection():
    chat = OpenAIChat("m", LlmSettings(), api_key=KEY, base_url="http://127.0.0.1:9/v1")

    assert failure_of(chat).kind is Failure.CONNECTION


def test_a_server_that_hangs_times_out(server):
    assert failure_of(chat_of(server, hangs(), timeout_s=0.2)).kind is Failure.TIMEOUT


def test_a_call_that_never_ends_is_left():
    with pytest.raises(TimeoutError):
        within(0.05, threading.Event().wait)


def test_the_wait_that_a_server_asks_for_is_told(server):
    assert failure_of(chat_of(server, fails(429, retry_after_s=7))).retry_after_s == 7.0


@pytest.mark.parametrize(("text", "told"), [("1.5", 1.5), ("-3", 0.0), ("nan", None), ("?", None)])
def test_retry_after_is_read_as_seconds(text, told):
    assert retry_after_s({"retry-after": text}) == told


def test_retry_after_is_read_as_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert 50.0 < retry_after_s({"retry-after": date}) <= 60.0


def test_no_retry_after_is_none():
    assert retry_after_s({}) is None


def test_a_server_without_tools_is_asked_for_json_and_then_for_text(server):
    refuses = fails(400, "unsupported")
    chat = chat_of(server, refuses, refuses, refuses, says('{"batch_cap": 8}'))

    answer = chat.ask(PROMPT)

    first, second, third, fourth = (request["body"] for request in server.requests)
    assert "tools" in first
    assert second["response_format"]["type"] == "json_schema"
    assert second["response_format"]["json_schema"]["schema"] == PROMPT.tool
    assert "tools" not in second
    assert third["response_format"] == {"type": "json_object"}
    assert "response_format" not in fourth
    assert chat.ask(PROMPT) == answer
    assert "response_format" not in server.requests[4]["body"]
    assert answer.text == '{"batch_cap": 8}'


def test_an_error_event_is_of_streams_only_and_whole_answers_ignore_it(server):
    assert chat_of(server, error_event()).ask(PROMPT).text.startswith("tok")


def test_neither_key_nor_prompt_is_logged(server, caplog):
    chat = chat_of(server, fails(401), calls({}))

    with caplog.at_level(logging.DEBUG):
        failure_of(chat)
        chat.ask(PROMPT)

    assert "not-to-be-seen" not in caplog.text


@pytest.mark.parametrize("key", ["", " ", "sk\n", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key):
    with pytest.raises(NotAvailableError, match="needs a key that a header can carry") as refused:
        OpenAIChat("m", LlmSettings(), api_key=key)

    assert "schl" not in str(refused.value)
