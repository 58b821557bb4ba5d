"""Our simulator beside Vidur on the same requests and times, and what AIConfigurator predicts.

    python -m scripts.compare_with_peers --trace F.parquet --peer-python VENV/bin/python [--write]

Vidur (PyPI `vidur`) runs in its own interpreter. Its profiles lie on a model hub; it is given our
measured operator times instead, so what differs is the scheduling, what an iteration is made of,
and the speed. AIConfigurator (PyPI `aiconfigurator-core`) has no arrivals: it predicts one batch.
With --write the figures go to docs/peers.md and .json.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agents.result_files import write_json, write_text
from llmserve_env.models import ServeAction
from llmserve_env.tasks import DeploymentSpec, TaskSpec, shipped_catalogue
from simulator.deployment import StepCosts, build_deployment
from simulator.engine import SimulatedEngine, action_row
from simulator.records import FloatArray, RequestBatch
from simulator.reward import weight_row
from simulator.state import FINISHED
from simulator.traces import read_trace
from simulator.warm_up import warm_up

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE, DATA = ROOT / "docs" / "peers.md", ROOT / "docs" / "peers.json"
PROFILE: Final = "a100-llama3-8b"
BATCH_CAP, CHUNK, LONGEST, STEP = 128, 2048, 16_384, 64
LAYERS: Final = 32
DRAIN_S: Final = 300.0
REPEATS: Final = 3
MS: Final = 1e3
ACTION: Final = ServeAction(
    batch_cap=BATCH_CAP,
    kv_budget_fraction=1.0,
    speculation_depth=0,
    quantization_tier="FP16",
    prefill_decode_split=False,
    priority_routing=False,
)


def peer_task(windows: int) -> TaskSpec:
    """One A100, whole, as vLLM serves: no task of the environment."""
    deployment = DeploymentSpec(
        profile=PROFILE,
        memory_limit_gb=80.0,
        token_budget=CHUNK,
        max_model_len_tokens=LONGEST,
        queue_timeout_s=1e6,
        switch_regime="warm",
    )
    family = shipped_catalogue().get("static_workload")
    changed = {"windows": windows, "deployment": deployment, "default_action": ACTION}
    return family.model_copy(update=changed)


def read_requests(path: Path, most: int) -> RequestBatch:
    """The first requests of a trace that fit the context."""
    trace = read_trace(path)
    rows = np.flatnonzero(trace.prompt_tokens + trace.output_tokens <= LONGEST)[:most]
    count = len(rows)
    return RequestBatch(
        arrival_s=trace.arrival_s[rows],
        prompt_tokens=trace.prompt_tokens[rows],
        output_tokens=np.maximum(trace.output_tokens[rows], 2),
        priority_class=np.ones(count, np.int64),
        stream=np.zeros(count, np.int64),
        acceptance_first=np.zeros(count),
        acceptance_ratio=np.ones(count),
        load_level=1.0,
    )


def simulate(requests: RequestBatch) -> tuple[dict[str, Any], float]:
    """Ours: what the requests met, and the mean number running."""
    windows = int(requests.arrival_s[-1] + DRAIN_S)
    task = peer_task(windows)
    weights, row = weight_row(task.reward)[None, :], action_row(ACTION)[None, :]
    seconds = []
    for _ in range(REPEATS):
        engine, running = SimulatedEngine(task), []
        engine.reset(0, requests, StepCosts())
        begun = time.process_time()
        for _ in range(windows):
            engine.step(row, weights)
            running.append(int(engine.state.metrics["running"][0]))
        seconds.append(time.process_time() - begun)
    table = engine.state.requests[0, : len(requests)]
    if not (table["status"] == FINISHED).all():
        raise SystemExit("not every request was served; take a lighter trace")
    rows = np.stack(
        [
            table["arrival_s"],
            table["first_token_s"],
            table["finish_s"],
            table["output_tokens"].astype(float),
        ],
        axis=1,
    )
    served = int(requests.arrival_s[-1])
    return figures(rows, min(seconds)), float(np.mean(running[:served]))


def figures(rows: FloatArray, cpu_s: float) -> dict[str, Any]:
    """Latencies of (arrival, first token, end, output tokens) and the speed."""
    ttft_ms = MS * (rows[:, 1] - rows[:, 0])
    tpot_ms = MS * (rows[:, 2] - rows[:, 1]) / (rows[:, 3] - 1.0)
    return {
        "requests": len(rows),
        "cpu_s": cpu_s,
        "requests_per_cpu_s": len(rows) / cpu_s,
        "ttft_p50_ms": float(np.quantile(ttft_ms, 0.5)),
        "ttft_p99_ms": float(np.quantile(ttft_ms, 0.99)),
        "tpot_mean_ms": float(tpot_ms.mean()),
        "tpot_p99_ms": float(np.quantile(tpot_ms, 0.99)),
    }


def vidur_tables() -> dict[str, Any]:
    """Our operator times in milliseconds per layer, in the keys that Vidur looks up."""
    task = peer_task(1)
    deployment = build_deployment(task)
    perf, per_layer = deployment.perf, MS / LAYERS
    # Vidur rounds tokens up to multiples of 8; the host's share of an iteration is in all of them.
    tokens = np.arange(0, CHUNK + BATCH_CAP + 8, 8)
    linear_s = perf.linear_s[0, tokens] + deployment.profile.serving.host_s
    lengths = np.arange(0, LONGEST + STEP, STEP)
    decode = list(product(range(1, BATCH_CAP + 1), lengths.tolist()))
    decode_s = [
        perf.attn_decode_time_s(batch, max(kv, 1)) + perf.lm_head_time_s(batch)
        for batch, kv in decode
    ]
    prefill = list(product(lengths.tolist(), range(32, CHUNK + 1, 32)))
    # Vidur's length holds the chunk, ours does not.
    prefill_s = [perf.attn_prefill_time_s(new, max(kv - new, 0)) for kv, new in prefill]
    return {
        "tokens": tokens,
        "linear_ms": linear_s * per_layer,
        "attn_decode_keys": np.array(decode),
        "attn_decode_ms": np.array(decode_s) * per_layer,
        "attn_prefill_keys": np.array(prefill),
        "attn_prefill_ms": np.array(prefill_s) * per_layer,
        "batch_cap": BATCH_CAP,
        "chunk": CHUNK,
        "blocks": deployment.pool_blocks("FP16"),
        "longest": LONGEST,
        "step": STEP,
    }


def run_vidur(python: Path, requests: RequestBatch) -> dict[str, Any]:
    """Vidur's figures, and its version."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        np.savez(folder / "times.npz", **vidur_tables())
        frame = pd.DataFrame(
            {
                "Date": "trace",
                "Time": requests.arrival_s,
                "PromptTokenCount": requests.prompt_tokens,
                "CompletionTokenCount": requests.output_tokens,
            }
        )
        frame.to_csv(folder / "requests.csv", index=False)
        script = ROOT / "scripts" / "peer_vidur.py"
        paths = [folder / "times.npz", folder / "requests.csv", folder / "out.json"]
        command = [python, script, *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise SystemExit(f"Vidur does not run: {done.stderr.strip()[-600:]}")
        found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    rows = np.array(found["requests"])
    return figures(rows, found["cpu_s"]) | {"version": found["version"]}


def run_aiconfigurator(
    python: Path, requests: RequestBatch, running: float
) -> dict[str, Any] | None:
    """Static predictions at the mean lengths and the mean batch; None where it is not installed."""
    batch = max(round(running), 1)
    prompt, output = round(requests.prompt_tokens.mean()), round(requests.output_tokens.mean())
    script = ROOT / "scripts" / "peer_aiconfigurator.py"
    command = [str(python), str(script), str(batch), str(prompt), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"aiconfigurator-core does not run: {done.stderr.strip().splitlines()[-1:]}")
        return None
    lengths = {"batch": batch, "prompt_tokens": prompt, "output_tokens": output}
    predicted: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return lengths | predicted


def page(results: dict[str, Any]) -> str:
    """docs/peers.md."""
    lines = [
        "# Beside other simulators",
        "",
        "Written by `python -m scripts.compare_with_peers --write`; numbers in `peers.json`.",
        f"One A100 80 GB, Llama-3 8B, FP16, at most {BATCH_CAP} sequences, {CHUNK} tokens an",
        f"iteration, no speculation. {results['machine']}; seconds of CPU, one thread each,",
        f"the best of {REPEATS} runs of ours, one of the others. TTFT is that at the engine,",
        "without the 12 ms that the API takes here.",
        "",
    ]
    for trace in results["traces"]:
        lines += _trace_lines(trace)
    lines += [
        "## What this says",
        "",
        "- Both simulators got the same operator times, ours: Vidur's own profiles lie on a",
        "  model hub and were not at hand. So the latencies compare scheduling and what an",
        "  iteration is made of, not measurements. Neither is held against a real server here;",
        "  [validation.md](validation.md) does that for ours.",
        "- That two schedulers written apart agree is a check of both. What is left: Vidur rounds",
        "  tokens up to eights and KV lengths up to steps of 64, and charges every prefill chunk",
        "  its own launch; ours interpolates, and all chunks of an iteration share a launch.",
        "- Vidur is Python objects and an event queue around a compiled predictor; ours is one",
        "  compiled loop that jumps over decode steps that are alike. Hence the speed.",
        "- As released, Vidur 0.0.26 makes no execution-time predictor: a finished method is",
        "  declared abstract. The script lifts that, and gives it its tables.",
        "- Where Vidur has more: tensor, pipeline and KV parallelism, several schedulers, clusters",
        "  of replicas with routing policies, per-operator metrics and traces.",
        "- AIConfigurator predicts one batch in a steady state, in no time, for many more GPUs,",
        "  models and parallel layouts; it knows no arrivals, so no queue and no p99. Its operator",
        "  times are where ours come from.",
        "",
        "## What was tried and does not run here",
        "",
        "- BLIS (`inference-sim`) is a Go program; PyPI has no `inference-sim`, and its `blis`",
        "  is a linear algebra library.",
        "- PyPI has no `llmservingsim` and no `splitwise-sim`; its `sarathi` is a coding",
        "  assistant.",
        "- `sched-sim` and `xpyd-sim` (PyPI) are there; by their summaries they simulate",
        "  schedulers and an API, not a measured GPU and model, and were not run.",
    ]
    return "\n".join(lines) + "\n"


def _trace_lines(trace: dict[str, Any]) -> list[str]:
    ours, vidur, static = trace["ours"], trace["vidur"], trace["aiconfigurator"]
    rows = [("LLMServeEnv", ours), (f"Vidur {vidur['version']}", vidur)]
    lines = [
        f"## {trace['name']}: {ours['requests']:,} requests",
        "",
        "| simulator | requests per CPU second | TTFT p50 / p99 ms | TPOT mean / p99 ms |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['requests_per_cpu_s']:,.0f} | "
            f"{row['ttft_p50_ms']:,.0f} / {row['ttft_p99_ms']:,.0f} | "
            f"{row['tpot_mean_ms']:.1f} / {row['tpot_p99_ms']:.1f} |"
            for name, row in rows
        ),
    ]
    if static is not None:
        lines.append(
            f"| AIConfigurator {static['version']}, static: {static['batch']} sequences of "
            f"{static['prompt_tokens']} + {static['output_tokens']} tokens | - | "
            f"{static['ttft_ms']:,.0f} / - | {static['tpot_ms']:.1f} / - |"
        )
    return [*lines, ""]


def main() -> None:
    """Compare on every trace; print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, action="append", required=True)
    parser.add_argument("--peer-python", type=Path, required=True, help="has vidur installed")
    parser.add_argument("--requests", type=int, default=5_000, help="of each trace, at most")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md and .json")
    arguments = parser.parse_args()
    warm_up()
    traces = []
    for path in arguments.trace:
        requests = read_requests(path, arguments.requests)
        ours, running = simulate(requests)
        static = run_aiconfigurator(arguments.peer_python, requests, running)
        vidur = run_vidur(arguments.peer_python, requests)
        traces.append({"name": path.stem, "ours": ours, "vidur": vidur, "aiconfigurator": static})
        print(json.dumps(traces[-1], indent=1))
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    results = {"machine": machine, "traces": traces}
    if arguments.write:
        write_json(DATA, results)
        write_text(PAGE, page(results))


if __name__ == "__main__":
    main()
