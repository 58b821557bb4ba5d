"""One JSON object of a recording -> the requests in it, their values as they were found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from simulator.trace_files.formats import Columns, Format
from simulator.trace_files.rows import FAILED, NO_COUNTS, NO_TIME, OTHER_SPAN, WARM_UP

Object = Mapping[str, Any]
OTLP_ERROR: Final = (2, "STATUS_CODE_ERROR")
PROMPT_KEYS: Final = ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens")
OUTPUT_KEYS: Final = ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens")
GUIDELLM_FAILURES: Final = ("errored", "incomplete")


class Request(NamedTuple):
    """A request as it was found; `blocks` are the ids of the prompt's blocks."""

    time: Any
    prompt: Any
    output: Any
    session: Any = None
    tenant: Any = None
    prefix_hit: Any = None
    priority: Any = None
    blocks: Any = None
    status: Any = None


class ShapeError(Exception):
    """An object lacks what its format needs; the message says what."""


# A request, or the reason why there is none.
Found = Request | str


def requests_in(found: Format, content: Object) -> Iterator[Found]:
    """The requests of one object, and a reason for each that is left out.

    Raises:
        ShapeError: If the object is not as its format says.
    """
    if found.columns is not None:
        return iter((_flat(found.columns, content),))
    return _READERS[found.kind](content)


def _flat(columns: Columns, content: Object) -> Found:
    # A failed call may well lack its counts; a row without the key at all is malformed.
    missing = [name for name in columns.required if name not in content]
    if missing:
        raise ShapeError(f"lacks {', '.join(missing)}")

    def of(name: str | None) -> Any:
        return None if name is None else content.get(name)

    return Request(
        time=content[columns.time],
        prompt=content[columns.prompt],
        output=content[columns.output],
        session=of(columns.session),
        tenant=of(columns.tenant),
        prefix_hit=of(columns.prefix_hit),
        priority=of(columns.priority),
        blocks=content.get("hash_ids"),
        status=of(columns.status),
    )


def _openai(content: Object) -> Iterator[Found]:
    usage = content.get("usage")
    if not isinstance(usage, Mapping):  # a streamed call whose usage nobody asked for
        yield NO_COUNTS
        return
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    yield Request(
        time=content.get("created"),
        prompt=usage.get("prompt_tokens", usage.get("input_tokens")),
        output=usage.get("completion_tokens", usage.get("output_tokens")),
        tenant=content.get("model"),
        prefix_hit=details.get("cached_tokens"),
    )


def _vllm(content: Object) -> Iterator[Found]:
    prompts, outputs = _list(content, "input_lens"), _list(content, "output_lens")
    if "start_times" not in content:
        raise ShapeError("lacks start_times: save it again with --save-detailed of a newer vLLM")
    starts = _list(content, "start_times")
    errors = content.get("errors") or [""] * len(prompts)
    if not len(prompts) == len(outputs) == len(starts) == len(errors):
        raise ShapeError(
            f"input_lens, output_lens, start_times and errors differ in length: {len(prompts)}, "
            f"{len(outputs)}, {len(starts)}, {len(errors)}"
        )
    for start, prompt, output, error in zip(starts, prompts, outputs, errors, strict=True):
        yield FAILED if error else Request(start, prompt, output)


def _otlp(content: Object) -> Iterator[Found]:
    for resource in _list(content, "resourceSpans"):
        for scope in _list(resource, "scopeSpans"):
            for span in _list(scope, "spans"):
                yield _span(span)


def _span(span: Object) -> Found:
    attributes = {
        each.get("key"): next(iter(each.get("value", {}).values()), None)
        for each in span.get("attributes", ())
    }
    prompt = _first(attributes, PROMPT_KEYS)
    output = _first(attributes, OUTPUT_KEYS)
    if span.get("status", {}).get("code") in OTLP_ERROR:
        return FAILED
    if prompt is None and output is None:
        return OTHER_SPAN
    model = _first(attributes, ("gen_ai.response.model", "gen_ai.request.model"))
    return Request(span.get("startTimeUnixNano"), prompt, output, tenant=model)


def _aiperf(content: Object) -> Iterator[Found]:
    about, metrics = content["metadata"], content["metrics"]
    if not isinstance(about, Mapping) or not isinstance(metrics, Mapping):
        raise ShapeError("metadata and metrics must be objects")
    if about.get("benchmark_phase") == "warmup":
        yield WARM_UP
    elif content.get("error") or about.get("was_cancelled"):
        yield FAILED
    else:
        yield Request(
            time=about.get("request_start_ns"),
            prompt=_metric(metrics, "input_sequence_length"),
            output=_metric(metrics, "output_sequence_length"),
            session=about.get("conversation_id"),
        )


def _guidellm(content: Object) -> Iterator[Found]:
    for benchmark in _list(content, "benchmarks"):
        requests = benchmark.get("requests")
        if not isinstance(requests, Mapping):
            raise ShapeError("a benchmark lacks requests")
        for kind in GUIDELLM_FAILURES:
            for _ in requests.get(kind) or ():
                yield FAILED
        for each in _list(requests, "successful"):
            start = each.get("request_start_time", each.get("start_time"))
            yield Request(start, each.get("prompt_tokens"), each.get("output_tokens"))


def _kv_cache_tester(content: Object) -> Iterator[Found]:
    for each in _list(content, "requests"):
        if "requests" in each:  # an agent that was called, with requests and a clock of its own
            yield NO_TIME
        else:
            yield Request(
                each.get("t"), each.get("in"), each.get("out"), blocks=each.get("hash_ids")
            )


def _list(content: Object, key: str) -> list[Any]:
    values = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(values, list):
        raise ShapeError(f"{key} must be a list, got {type(values).__name__}")
    return values


def _first(attributes: Object, keys: tuple[str, ...]) -> Any:
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)


def _metric(metrics: Object, name: str) -> Any:
    metric = metrics.get(name)
    return metric.get("value") if isinstance(metric, Mapping) else metric


_READERS: Final[dict[str, Callable[[Object], Iterator[Found]]]] = {
    "openai": _openai,
    "vllm": _vllm,
    "otlp": _otlp,
    "aiperf": _aiperf,
    "guidellm": _guidellm,
    "kv_cache_tester": _kv_cache_tester,
}
