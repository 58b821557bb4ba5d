"""A stand-in for a vLLM with the plugin: the real control channel, OpenAI's protocol, no engine.

The channel is the plugin's own code; the engine behind it is idle for ever, so that what is wanted
stays pending until a next step that never comes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from llmserve_vllm.control import KnobControl
from llmserve_vllm.http_channel import ControlServer
from llmserve_vllm.knobs import EngineFacts

from tests.openai_server import OpenAIServer, generates, openai_server
from tests.real_play import MODEL, settings_for

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0
# HELP vllm:num_requests_waiting_by_reason Number of waiting requests by reason.
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 2.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
# HELP vllm:num_preemptions_total Cumulative number of preemption from the engine.
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="tiny"} 7.0
# HELP vllm:num_preemptions_created Cumulative number of preemption from the engine.
# TYPE vllm:num_preemptions_created gauge
vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.7952676778363965e+09
# HELP vllm:spec_decode_num_draft_tokens_total Number of draft tokens.
# TYPE vllm:spec_decode_num_draft_tokens_total counter
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="tiny"} 200.0
# HELP vllm:spec_decode_num_accepted_tokens_total Number of accepted tokens.
# TYPE vllm:spec_decode_num_accepted_tokens_total counter
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="tiny"} 150.0
# HELP vllm:e2e_request_latency_seconds Histogram of e2e request latency in seconds.
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="tiny"} 1.0
"""
FACTS = EngineFacts(
    max_num_seqs=64,
    max_active=64,
    token_budget=2048,
    prefill_chunk_tokens=0,
    can_chunk=True,
    num_spec_tokens=4,
    is_priority=False,
    kv_blocks=500,
    block_tokens=16,
    kv_groups=1,
    max_model_len=1584,  # 100 of 500 blocks: at least a fifth
)


@dataclass
class VllmServer:
    """What a test sees of it: OpenAI's side, the knobs, and the channel to break."""

    openai: OpenAIServer
    control: KnobControl
    channel: ControlServer

    @property
    def control_url(self) -> str:
        """Of the channel."""
        return f"http://127.0.0.1:{self.channel.port}"

    def settings(self, **changes):
        """Settings that play on it."""
        fields = {
            "real_provider": "vllm",
            "real_control_url": self.control_url,
            "real_lease_s": 3.0,
        }
        return settings_for(self.openai.url, **fields | changes)


@contextmanager
def vllm_server(*, token: str | None = None, facts: EngineFacts = FACTS) -> Iterator[VllmServer]:
    """A running stand-in that generates at once."""
    control = KnobControl(facts.defaults, facts.bounds)

    def engine_state():
        return {
            "is_idle": True,
            "running": 0,
            "waiting": 0,
            "kv_usage_fraction": 0.0,
            "last_step_age_s": 0.0,
            "started_with": {
                name: getattr(facts, name)
                for name in (
                    "max_num_seqs",
                    "num_spec_tokens",
                    "kv_blocks",
                    "block_tokens",
                    "max_model_len",
                )
            },
        }

    with ExitStack() as stack:
        openai = stack.enter_context(openai_server())
        openai.metrics = METRICS
        openai.script(MODEL, generates())
        channel = ControlServer(control, engine_state, port=0, token=token)
        stack.callback(channel.close)
        yield VllmServer(openai, control, channel)
