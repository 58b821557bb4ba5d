"""Runs Vidur on requests and operator times that compare_with_peers.py wrote; needs only Vidur.

    PEER_PYTHON scripts/peer_vidur.py INPUT.npz REQUESTS.csv OUTPUT.json

Vidur fetches its own profiles from a model hub when it starts. Here it is given ours instead, in
the form of its own look-up tables, so that both simulators believe the same of the GPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import numpy as np

MODEL, DEVICE, NODE = "meta-llama/Llama-3-8B", "a100", "a100_dgx"
TOKEN_OPS = (
    "attn_pre_proj",
    "attn_post_proj",
    "attn_rope",
    "attn_kv_cache_save",
    "mlp_up_proj",
    "mlp_down_proj",
    "mlp_act",
    "input_layernorm",
    "post_attention_layernorm",
    "add",
)


def predictions(given: dict[str, Any]) -> dict[str, dict[tuple[int, ...], float]]:
    """Milliseconds per layer, as Vidur keeps them: all linear work under one name."""
    tokens = given["tokens"].tolist()
    found: dict[str, dict[tuple[int, ...], float]] = {
        name: {(count,): 0.0 for count in tokens} for name in TOKEN_OPS
    }
    found["mlp_up_proj"] = {
        (count,): value for count, value in zip(tokens, given["linear_ms"].tolist(), strict=True)
    }
    for name in ("attn_decode", "attn_prefill"):
        keys = map(tuple, given[f"{name}_keys"].tolist())
        found[name] = dict(zip(keys, given[f"{name}_ms"].tolist(), strict=True))
    return found


def main() -> None:
    """Simulate and write what every request met, and how long that took."""
    source, requests, target = sys.argv[1:4]
    from vidur.config import (
        CacheConfig,
        ClusterConfig,
        LinearRegressionExecutionTimePredictorConfig,
        MetricsConfig,
        ReplicaConfig,
        SarathiSchedulerConfig,
        SimulationConfig,
        TraceRequestGeneratorConfig,
    )
    from vidur.execution_time_predictor import sklearn_execution_time_predictor as predictor
    from vidur.execution_time_predictor.linear_regression_execution_time_predictor import (
        LinearRegressionExecutionTimePredictor,
    )
    from vidur.simulator import Simulator

    given = dict(np.load(source))
    limits = {
        name: int(given[name]) for name in ("batch_cap", "chunk", "blocks", "longest", "step")
    }
    table = predictions(given)
    predictor.SklearnExecutionTimePredictor._load_predictions_from_hf = lambda _: table
    # As released, 0.0.26 declares a finished method abstract, and no predictor can be made.
    LinearRegressionExecutionTimePredictor.__abstractmethods__ = frozenset()
    folder = tempfile.mkdtemp(prefix="vidur-")
    config = SimulationConfig(
        log_level="error",
        cluster_config=ClusterConfig(
            replica_config=ReplicaConfig(
                model_name=MODEL,
                num_pipeline_stages=1,
                tensor_parallel_size=1,
                device=DEVICE,
                network_device=NODE,
            ),
            cache_config=CacheConfig(num_blocks=limits["blocks"]),
            replica_scheduler_config=SarathiSchedulerConfig(
                batch_size_cap=limits["batch_cap"], chunk_size=limits["chunk"]
            ),
        ),
        request_generator_config=TraceRequestGeneratorConfig(
            trace_file=requests,
            date="trace",
            prefill_scale_factor=1.0,
            decode_scale_factor=1.0,
            time_scale_factor=1.0,
            max_tokens=limits["longest"],
        ),
        execution_time_predictor_config=LinearRegressionExecutionTimePredictorConfig(
            kv_cache_prediction_granularity=limits["step"],
            prediction_max_prefill_chunk_size=limits["chunk"],
            prediction_max_batch_size=limits["batch_cap"],
            prediction_max_tokens_per_request=limits["longest"],
            attention_decode_batching_overhead_fraction=0.0,
            cache_dir=folder,
            use_native_execution_time_predictor=True,
        ),
        metrics_config=MetricsConfig(
            write_metrics=False,
            enable_chrome_trace=False,
            store_plots=False,
            output_dir=folder,
        ),
    )
    simulator = Simulator(config)
    arrivals = [event._request for _, event in simulator._event_queue]
    begun = time.process_time()
    simulator.run()
    cpu_s = time.process_time() - begun
    rows = [
        [
            float(request.arrived_at),
            float(request.prefill_completed_at),
            float(request.completed_at),
            int(request.num_decode_tokens),
        ]
        for request in arrivals
    ]
    result = {"version": version("vidur"), "cpu_s": cpu_s, "requests": rows}
    with open(target, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
