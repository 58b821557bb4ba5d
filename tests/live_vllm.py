"""The outside of a vLLM without its engine: a metrics page, and the plugin's control channel."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from llmserve_vllm.control import KnobControl
from llmserve_vllm.http_channel import ControlServer

from tests.test_vllm_plugin_knobs import facts

TTFT_BOUNDS_S = (0.1, 0.5, 1.0)
ITL_BOUNDS_S = (0.01, 0.05)


def histogram(name, bounds, counts, total):
    """Lines of a histogram; `counts` by bucket, the one beyond all bounds last."""
    lines, cumulated = [f"# TYPE {name} histogram"], 0
    for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
        cumulated += count
        lines.append(f'{name}_bucket{{le="{bound}",model_name="tiny"}} {cumulated}')
    return [*lines, f"{name}_count {cumulated}", f"{name}_sum {total}"]


def page(**values):
    """A metrics page; what is not given is 0."""
    known = {"running": 0, "waiting": 0, "kv": 0.0, "ended": 0, "aborted": 0, "tokens": 0}
    known |= {"preemptions": 0, "drafted": 0, "accepted": 0, "prompts": (0, 0)}
    known |= {"ttft": (0, 0, 0, 0), "itl": (0, 0, 0)}
    known |= values
    count, prompt_tokens = known["prompts"]
    lines = [
        "# TYPE vllm:num_requests_running gauge",
        f"vllm:num_requests_running {known['running']}",
        "# TYPE vllm:num_requests_waiting gauge",
        f"vllm:num_requests_waiting {known['waiting']}",
        "# TYPE vllm:kv_cache_usage_perc gauge",
        f"vllm:kv_cache_usage_perc {known['kv']}",
    ]
    counters = {
        "generation_tokens": known["tokens"],
        "num_preemptions": known["preemptions"],
        "spec_decode_num_draft_tokens": known["drafted"],
        "spec_decode_num_accepted_tokens": known["accepted"],
    }
    for name, value in counters.items():
        lines += [f"# TYPE vllm:{name}_total counter", f"vllm:{name}_total {value}"]
    lines.append("# TYPE vllm:request_success_total counter")
    for reason, value in (("stop", known["ended"]), ("abort", known["aborted"])):
        lines.append(f'vllm:request_success_total{{finished_reason="{reason}"}} {value}')
    lines += histogram(
        "vllm:time_to_first_token_seconds", TTFT_BOUNDS_S, known["ttft"], sum(known["ttft"])
    )
    lines += histogram("vllm:inter_token_latency_seconds", ITL_BOUNDS_S, known["itl"], 1.0)
    lines += histogram("vllm:request_prompt_tokens", (1000.0,), (count, 0), prompt_tokens)
    return "\n".join(lines) + "\n"


class LiveVllm:
    """Serves a page that a test may change, and a real control channel of an engine that obeys."""

    def __init__(self):
        self.page, self.status = page(), 200
        self.control = KnobControl(facts().defaults, facts().bounds)
        self.channel = ControlServer(self.control, self._engine, port=0, token=None)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.page.encode())

            def log_message(self, *_):
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._httpd.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._httpd.server_port}"

    @property
    def control_url(self):
        return f"http://127.0.0.1:{self.channel.port}"

    def close(self):
        self._httpd.shutdown()
        self._httpd.server_close()
        self.channel.close()

    def _engine(self):
        """As the plugin's scheduler tells it of an idle engine."""
        return {
            "is_idle": True,
            "running": 0,
            "waiting": 0,
            "kv_usage_fraction": 0.0,
            "last_step_age_s": 0.0,
            "started_with": {
                "max_num_seqs": 64,
                "num_spec_tokens": 8,
                "kv_blocks": 1000,
                "block_tokens": 16,
                "max_model_len": 2048,
            },
        }
