"""A made-up trace of ten minutes, whose rate doubles half-way, as a parquet file."""

import numpy as np
import pandas as pd

from agents.recommend.ask import draft_acceptance, parse_ask
from agents.recommend.traffic import divide
from simulator.traces import read_trace

DURATION_S = 600.0


def write_trace(path, *, rate_rps=1.5, seed=0, duration_s=DURATION_S):
    rng = np.random.default_rng(seed)
    count = round(rate_rps * duration_s)
    times = np.sort(rng.uniform(0.0, duration_s, count))
    frame = pd.DataFrame(
        {
            "timestamp_s": times - times[0],
            "prompt_tokens": rng.integers(50, 1500, count),
            "output_tokens": rng.integers(10, 200, count),
        }
    )
    frame.to_parquet(path)
    return path


def made_up_ask(**fields):
    given = {"profile": "a100-llama3-8b", "slo_ttft_p99_ms": 800.0, "slo_itl_p99_ms": 120.0}
    return parse_ask(given | {"planner": False, "candidates": 8} | fields)


def made_up_traffic(path):
    return divide(read_trace(write_trace(path)), draft_acceptance(1))
