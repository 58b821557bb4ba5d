"""Messages for /ws: good ones, good ones with something wrong, and anything at all."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

from llmserve_env.models import ServeAction
from llmserve_env.tasks import shipped_catalogue

MAX_TEXT: Final = 200
LARGEST_INTEGER: Final = 2**70
JSON_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


def any_message() -> st.SearchStrategy[str | bytes]:
    """Text or bytes; about half of it is a message that the protocol knows."""
    good = _resets() | _steps() | st.sampled_from([{"type": "state"}, {"type": "close"}]) | _calls()
    return st.one_of(
        good.map(json.dumps),
        _spoilt(good).map(json.dumps),
        JSON_VALUES.map(json.dumps),
        st.text(max_size=MAX_TEXT),
        st.binary(max_size=MAX_TEXT),
    )


def _resets() -> st.SearchStrategy[dict[str, Any]]:
    tasks = [task.task_id for task in shipped_catalogue().playable]
    data = st.fixed_dictionaries(
        {},
        optional={
            "task_id": st.sampled_from(tasks),
            "seed": st.integers(0, 2**63 - 1),
            "trace_seed": st.integers(0, 2**63 - 1),
            "episode_id": st.text(min_size=1, max_size=20),
            "reward_weights": st.dictionaries(
                st.sampled_from(["slo", "ttft", "cost", "throughput"]), st.floats(0.0, 10.0)
            ),
        },
    )
    return data.map(lambda fields: {"type": "reset", "data": fields})


def _steps() -> st.SearchStrategy[dict[str, Any]]:
    knobs = st.fixed_dictionaries(
        {
            "batch_cap": st.integers(1, 512),
            "kv_budget_fraction": st.floats(0.1, 1.0),
            "speculation_depth": st.integers(0, 8),
            "quantization_tier": st.sampled_from(["FP16", "INT8", "INT4"]),
            "prefill_decode_split": st.booleans(),
            "priority_routing": st.booleans(),
        }
    )
    known = set(ServeAction.model_fields)
    return knobs.map(
        lambda action: {"type": "step", "data": {key: action[key] for key in sorted(known)}}
    )


def _calls() -> st.SearchStrategy[dict[str, Any]]:
    call = st.fixed_dictionaries(
        {
            "jsonrpc": st.just("2.0"),
            "id": st.integers(0, 9) | st.text(max_size=5),
            "method": st.sampled_from(["tools/list", "tools/call", "initialize", "x"]),
        },
        optional={"params": st.dictionaries(st.sampled_from(["name", "arguments"]), JSON_VALUES)},
    )
    return call.map(lambda content: {"type": "mcp", "data": content})


def _spoilt(good: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A good message with one field of it, or of its data, changed, added or dropped."""

    def spoil(message: dict[str, Any], key: str, value: Any, how: int) -> dict[str, Any]:
        spoilt = json.loads(json.dumps(message))
        place = spoilt.get("data") if how % 2 and isinstance(spoilt.get("data"), dict) else spoilt
        names = [*sorted(place), key]
        name = names[how % len(names)]
        if how > len(names) and name in place:
            del place[name]
        else:
            place[name] = value
        return dict(spoilt)

    return st.builds(spoil, good, st.text(max_size=8), JSON_VALUES, st.integers(0, 15))
