"""Sends one request at a time to a server behind OpenAI's API and times what streams back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import openai

from server.real_failures import Failure, Trouble, classify
from server.real_settings import RealSettings

# At debug level these write requests, that is prompts, to the log.
TRANSPORT_LOGGERS: Final = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")
NO_KEY: Final = "none"
OPENAI_URL: Final = "https://api.openai.com/v1"  # whatever OPENAI_BASE_URL says
# A request is told to go on, because most models would end a list of words with a polite question.
INSTRUCTION: Final = "Write a long story without any end that uses these words: "

TokenListener = Callable[[int], None]


class RequestFailedError(Exception):
    """A request brought no complete answer; `trouble` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.failure.value)
        self.trouble = trouble


class Answer(NamedTuple):
    """A complete answer; tokens as the server counted them, None where it does not tell."""

    prompt_tokens: int | None
    completion_tokens: int | None


class RealClient:
    """One deployment behind OpenAI's API, through the official client without its retries."""

    def __init__(self, settings: RealSettings, url: str | None, *, is_direct: bool = False) -> None:
        """Talk to `url`, or to OpenAI itself; nothing is sent yet.

        Args:
            settings: How it is asked.
            url: Where it is.
            is_direct: Whether nobody else may be asked in its place: no proxy of the environment,
                and no host to which it redirects.
        """
        for name in TRANSPORT_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        key = settings.openai_api_key
        self._settings, self._is_openai = settings, url is None
        self._client = openai.AsyncOpenAI(
            api_key=NO_KEY if key is None else key.get_secret_value(),
            base_url=OPENAI_URL if url is None else url,
            max_retries=0,
            timeout=settings.real_request_timeout_s,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False)
            if is_direct
            else None,
        )

    async def models(self) -> dict[str, int | None]:
        """The server's models, and the longest context of each where it tells (vLLM does).

        Raises:
            RequestFailedError: Whatever goes wrong.
        """
        try:
            async with asyncio.timeout(self._settings.real_request_timeout_s):
                listed = [model async for model in self._client.models.list()]
        except (openai.APIError, TimeoutError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RequestFailedError(classify(error, has_answered=False)) from None
        return {model.id: (model.model_extra or {}).get("max_model_len") for model in listed}

    async def generate(
        self,
        prompt: str,
        max_tokens: int,
        on_tokens: TokenListener | None = None,
        *,
        priority: int = 0,
    ) -> Answer:
        """Ask for at most so many tokens and wait for the last one.

        Args:
            prompt: The text that fills the prompt.
            max_tokens: At least 1.
            on_tokens: Called when tokens arrive, with how many there are (1 where the server does
                not say). The first call marks the first token.
            priority: 0 is the highest; told to servers whose queue this process controls.

        Raises:
            RequestFailedError: Whatever goes wrong, at the latest after the request's time-out.
        """
        reader = _StreamReader(on_tokens)
        try:
            async with asyncio.timeout(self._settings.real_request_timeout_s):
                async for chunk in await self._open(prompt, max_tokens, priority):
                    reader.take(chunk)
        except (openai.APIError, TimeoutError, json.JSONDecodeError, UnicodeDecodeError) as error:
            trouble = classify(error, has_answered=reader.has_begun)
            raise RequestFailedError(trouble) from None  # the error's text may hold the prompt
        return reader.answer()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _open(self, prompt: str, max_tokens: int, priority: int) -> AsyncIterator[Any]:
        model, client = str(self._settings.real_model), self._client
        temperature = self._settings.real_temperature
        sampling = {} if temperature is None else {"temperature": temperature}
        if self._settings.real_provider == "vllm":
            # vLLM's own setting; other servers that understand ignore_eos may not know it.
            is_tunable = self._settings.real_control_url is not None
            order = {"priority": priority} if is_tunable else {}
            return await client.completions.create(
                model=model,
                prompt=prompt,
                max_tokens=max_tokens,
                stream=True,
                # Each chunk tells its tokens: one may hold several under speculation.
                extra_body={
                    "ignore_eos": True,
                    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
                    **order,
                    **sampling,
                },
            )
        # OpenAI's newer models refuse max_tokens, and many compatible servers know nothing else.
        limit = "max_completion_tokens" if self._is_openai else "max_tokens"
        limits: dict[str, Any] = {limit: max_tokens} | sampling
        stream: AsyncIterator[Any] = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": INSTRUCTION + prompt}],
            stream=True,
            stream_options={"include_usage": True},
            **limits,
        )
        return stream


class _StreamReader:
    """Reads the chunks of one stream; the client builds them without checking their fields."""

    def __init__(self, on_tokens: TokenListener | None) -> None:
        self.has_begun = False
        self._on_tokens = on_tokens
        self._told_tokens, self._has_ended = 0, False
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None

    def take(self, chunk: Any) -> None:
        """Note one chunk.

        Raises:
            RequestFailedError: If it has not the form of a chunk.
        """
        try:
            tokens = self._tokens_in(chunk)
        except (AttributeError, TypeError, IndexError) as error:
            raise RequestFailedError(Trouble(Failure.MALFORMED)) from error
        if tokens > 0:
            self.has_begun = True
            self._told_tokens += tokens
            if self._on_tokens is not None:
                self._on_tokens(tokens)

    def answer(self) -> Answer:
        """What the stream amounts to.

        Raises:
            RequestFailedError: If it broke off, or brought no token.
        """
        if not self._has_ended:
            raise RequestFailedError(Trouble(Failure.CUT_STREAM))
        if not self.has_begun:
            raise RequestFailedError(Trouble(Failure.EMPTY_ANSWER))
        return Answer(self._prompt_tokens, self._completion_tokens)

    def _tokens_in(self, chunk: Any) -> int:
        usage = chunk.usage
        if usage is not None:
            self._prompt_tokens = int(usage.prompt_tokens)
            self._completion_tokens = int(usage.completion_tokens)
        if not chunk.choices:
            return 0
        choice = chunk.choices[0]
        self._has_ended = self._has_ended or choice.finish_reason is not None
        if not _has_output(choice):
            return 0
        if usage is None:
            return 1
        return max(int(usage.completion_tokens) - self._told_tokens, 0)


def _has_output(choice: Any) -> bool:
    """Whether a chunk's choice stands for output: text, or a token whose text is still held back.

    A chat stream begins with a chunk that has a role and no text, and streams end with one that has
    a reason and no text: those stand for nothing.
    """
    delta = getattr(choice, "delta", None)
    if delta is None:
        text, role = choice.text, None
    else:
        extra = delta.model_extra or {}
        text = delta.content or extra.get("reasoning_content") or extra.get("reasoning")
        text, role = delta.content if text is None else text, delta.role
    if text:
        return True
    return text is not None and choice.finish_reason is None and role is None
