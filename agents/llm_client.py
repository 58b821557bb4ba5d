"""Asks any server that speaks OpenAI's protocol, by the official client, one call at a time."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTimeError
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from agents.llm_answer import TOOL
from agents.llm_calls import Answer, CallFailedError, Failure, Prompt
from agents.llm_settings import LlmSettings
from llmserve_env.errors import NotAvailableError

if TYPE_CHECKING:
    import openai

# Asked for in this order: a server that refuses one way is asked the next, now and from then on.
FORMS: Final = ("tool", "json_schema", "json_object", "text")
NO_KEY: Final = (
    "a language model needs a key that a header can carry: OPENAI_API_KEY in the environment, for "
    "inference.py also API_KEY or HF_TOKEN; servers that want no key take any"
)
_STATUS_KINDS: Final = {
    401: Failure.AUTHENTICATION,
    403: Failure.AUTHENTICATION,
    404: Failure.UNKNOWN_MODEL,
    408: Failure.TIMEOUT,
    409: Failure.SERVER_ERROR,
    429: Failure.RATE_LIMITED,
}
_QUOTA_CODES: Final = ("insufficient_quota", "billing_hard_limit_reached")
_CONTEXT_WORDS: Final = ("context_length", "maximum context", "context size", "max_model_len")


class _Function(BaseModel):
    name: str
    arguments: str


class _ToolCall(BaseModel):
    function: _Function | None = None


class _Message(BaseModel):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIChat:
    """A model on a server. It keeps the first way of asking that the server does not refuse."""

    def __init__(
        self,
        model: str,
        settings: LlmSettings,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
    ) -> None:
        """Get ready; nothing is sent.

        Args:
            model: As the server names it.
            settings: Time-out and length of an answer.
            api_key: From the environment's OPENAI_API_KEY if left out.
            base_url: From OPENAI_BASE_URL if left out; OpenAI's own without that.

        Raises:
            NotAvailableError: Without the package `openai`, or a key that can be sent.
        """
        self.model = model
        self._settings = settings
        self._forms = list(FORMS)
        self._openai = _import_openai()
        # At the level DEBUG it writes whole prompts.
        logging.getLogger("openai").setLevel(logging.WARNING)
        try:
            self._client = self._openai.OpenAI(
                api_key=api_key, base_url=base_url, max_retries=0, timeout=settings.timeout_s
            )
        except self._openai.OpenAIError:
            raise NotAvailableError(NO_KEY) from None
        key = self._client.api_key
        if not (key.strip() and key.isascii() and key.isprintable()):
            raise NotAvailableError(NO_KEY)

    def ask(self, prompt: Prompt) -> Answer:
        """The answer to one call; raises CallFailedError if there is none.

        A way of asking that the server refuses costs nothing, and the next one is tried at once.
        """
        while True:
            try:
                return self._ask(prompt)
            except CallFailedError as error:
                if error.kind is not Failure.REFUSED or len(self._forms) == 1:
                    raise
                self._forms.pop(0)

    def _ask(self, prompt: Prompt) -> Answer:
        request = self._request(prompt)
        create = self._client.chat.completions.with_raw_response.create
        try:
            response = within(self._settings.timeout_s, lambda: create(**request))
            body = _Completion.model_validate_json(response.http_response.content)
        except NotInTimeError:
            raise CallFailedError(Failure.TIMEOUT) from None
        # Not chained: the texts of these may hold what was sent, and part of a key.
        except self._openai.OpenAIError as error:
            raise self._failure(error) from None
        except (ValidationError, ValueError):
            raise CallFailedError(Failure.MALFORMED) from None
        if not body.choices:
            raise CallFailedError(Failure.MALFORMED)
        return _answer(body)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "max_completion_tokens": self._settings.max_completion_tokens,
        }
        if self._forms[0] == "tool":
            function = {
                "name": TOOL,
                "description": "Set knobs of the serving engine.",
                "parameters": prompt.tool,
            }
            request["tools"] = [{"type": "function", "function": function}]
            request["tool_choice"] = {"type": "function", "function": {"name": TOOL}}
        elif self._forms[0] == "json_schema":
            described = {"name": TOOL, "schema": prompt.tool}
            request["response_format"] = {"type": "json_schema", "json_schema": described}
        elif self._forms[0] == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request

    def _failure(self, error: openai.OpenAIError) -> CallFailedError:
        if isinstance(error, self._openai.APITimeoutError):
            return CallFailedError(Failure.TIMEOUT)
        if isinstance(error, self._openai.APIConnectionError):
            return CallFailedError(Failure.CONNECTION)
        if not isinstance(error, self._openai.APIStatusError):
            return CallFailedError(Failure.MALFORMED)
        kind = _kind_of(error.status_code, str(error.code), str(error))
        return CallFailedError(kind, retry_after_s=retry_after_s(error.response.headers))


def _kind_of(status: int, code: str, message: str) -> Failure:
    if status == 429 and code in _QUOTA_CODES:
        return Failure.QUOTA
    if status in _STATUS_KINDS:
        return _STATUS_KINDS[status]
    if status >= 500:
        return Failure.SERVER_ERROR
    told = f"{code} {message}".lower()
    if any(words in told for words in _CONTEXT_WORDS):
        return Failure.CONTEXT_TOO_LONG
    return Failure.REFUSED


def _answer(body: _Completion) -> Answer:
    message = body.choices[0].message
    called = [call.function for call in message.tool_calls or () if call.function is not None]
    arguments = next((function.arguments for function in called if function.name == TOOL), None)
    usage = body.usage
    return Answer(
        text=message.content or "",
        arguments=arguments,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
    )


def retry_after_s(headers: Any) -> float | None:
    """Seconds that the header Retry-After asks for, given as seconds or as a date, else None."""
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def within(limit_s: float, call: Callable[[], Any]) -> Any:
    """What the call returns, if it does so in time.

    The client's own time-out is about each read: an answer that drips would go on for ever. The
    call runs on in a thread that nobody waits for.

    Raises:
        TimeoutError: If it takes longer; otherwise whatever the call raises.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (handed on to whoever waits)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(timeout=limit_s)


def _import_openai() -> Any:
    try:
        import openai
    except ImportError:
        raise NotAvailableError(
            "a language model needs the package openai: uv sync --extra openai"
        ) from None
    return openai
