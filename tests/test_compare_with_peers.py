import numpy as np
import pytest

from scripts.compare_with_peers import CHUNK, LAYERS, figures, page, peer_task, vidur_tables
from scripts.peer_vidur import predictions
from simulator.deployment import build_deployment


def test_latencies_are_read_off_arrival_first_token_and_end():
    rows = np.array([[0.0, 0.1, 1.1, 11.0], [1.0, 1.3, 1.3 + 0.2, 2.0]])

    found = figures(rows, 0.5)

    assert found["requests_per_cpu_s"] == 4.0
    assert found["ttft_p50_ms"] == pytest.approx(200.0)
    assert found["tpot_mean_ms"] == pytest.approx(150.0)


def test_the_peer_is_given_our_operator_times():
    table = predictions(vidur_tables())

    deployment = build_deployment(peer_task(1))
    perf, host_s = deployment.perf, deployment.profile.serving.host_s
    decode_s = perf.attn_decode_time_s(16, 1024) + perf.lm_head_time_s(16)
    assert LAYERS * table["mlp_up_proj"][(CHUNK,)] == pytest.approx(
        1e3 * (perf.linear_time_s("FP16", CHUNK) + host_s)
    )
    assert LAYERS * table["attn_decode"][(16, 1024)] == pytest.approx(1e3 * decode_s)
    assert LAYERS * table["attn_prefill"][(2048, 512)] == pytest.approx(
        1e3 * perf.attn_prefill_time_s(512, 1536)
    )
    assert table["add"][(8,)] == 0.0


def test_the_page_names_versions_and_says_where_a_peer_has_more():
    row = figures(np.array([[0.0, 0.1, 1.1, 11.0]]), 0.5)
    trace = {"name": "t", "ours": row, "vidur": row | {"version": "1.2.3"}, "aiconfigurator": None}

    text = page({"machine": "a machine", "traces": [trace]})

    assert "| Vidur 1.2.3 | 2 | 100 / 100 | 100.0 / 100.0 |" in text
    assert "Where Vidur has more" in text
