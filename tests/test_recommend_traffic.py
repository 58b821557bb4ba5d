import numpy as np
import pandas as pd
import pytest

from agents.recommend.ask import draft_acceptance
from agents.recommend.traffic import LEAD_S, divide, stretches, write_library
from llmserve_env.errors import InvalidInputError
from simulator.traces import read_trace
from tests.recommend_traffic import made_up_traffic, write_trace


def counted(piece):
    """Times in the trace of the requests that count."""
    arrival_s = piece.requests.arrival_s
    inside = (arrival_s >= LEAD_S) & (arrival_s < LEAD_S + 60.0 * piece.blocks)
    return (arrival_s[inside] - LEAD_S + piece.start_s).tolist()


def test_every_request_of_a_part_counts_once_up_to_the_last_whole_minute(tmp_path):
    traffic = made_up_traffic(tmp_path / "a.parquet")

    pieces = stretches(traffic, traffic.later, most=99)

    part, arrival_s = traffic.later, traffic.trace.arrival_s
    whole = part.start_s + 60.0 * sum(piece.blocks for piece in pieces)
    expected = arrival_s[(arrival_s >= part.start_s) & (arrival_s < whole)]
    assert np.allclose([time_s for piece in pieces for time_s in counted(piece)], expected)
    assert sum(piece.blocks for piece in pieces) == 2


def test_a_search_sees_nothing_of_later_traffic(tmp_path):
    traffic = made_up_traffic(tmp_path / "a.parquet")

    pieces = stretches(traffic, traffic.earlier, most=99)

    last = max(piece.requests.arrival_s[-1] - LEAD_S + piece.start_s for piece in pieces)
    assert last < traffic.later.start_s


def test_replicas_share_the_requests_in_turn(tmp_path):
    traffic = made_up_traffic(tmp_path / "a.parquet")

    alone = stretches(traffic, traffic.later, most=99)
    shared = stretches(traffic, traffic.later, most=99, replicas=3)

    pairs = zip(alone, shared, strict=True)
    assert all(abs(len(one.requests) / 3 - len(third.requests)) < 1.0 for one, third in pairs)


def test_a_faster_clock_brings_the_same_requests_in_less_time(tmp_path):
    traffic = made_up_traffic(tmp_path / "a.parquet")

    (piece,) = stretches(traffic, traffic.later, most=99, speed=2.0)

    rate = len(counted(piece)) / (60.0 * piece.blocks)
    assert rate == pytest.approx(3.0, rel=0.25)


def test_too_many_stretches_are_spread_evenly_over_the_part(tmp_path):
    path = write_trace(tmp_path / "a.parquet", duration_s=20_000.0, rate_rps=0.1)
    traffic = divide(read_trace(path), draft_acceptance(1))

    pieces = stretches(traffic, traffic.earlier, most=5)

    assert len(pieces) == 5
    assert pieces[0].start_s == 0.0
    assert pieces[-1].start_s > 13_000.0


def test_two_days_are_cut_between_them(tmp_path):
    path = write_trace(tmp_path / "a.parquet", duration_s=2.2 * 86_400.0, rate_rps=0.002)

    traffic = divide(read_trace(path), draft_acceptance(1))

    assert traffic.by_days
    assert traffic.later.start_s == 2 * 86_400.0


def test_a_trace_of_four_minutes_is_refused(tmp_path):
    path = write_trace(tmp_path / "short.parquet", duration_s=240.0)

    with pytest.raises(InvalidInputError, match="needs 100 requests or more over 300 s"):
        divide(read_trace(path), draft_acceptance(1))


def test_the_planners_library_is_earlier_traffic_and_lasts_as_long_as_asked(tmp_path):
    traffic = made_up_traffic(tmp_path / "a.parquet")

    write_library(traffic, tmp_path / "library.parquet", replicas=1, least_s=2_400.0)

    library = pd.read_parquet(tmp_path / "library.parquet")
    earlier = int((traffic.trace.arrival_s < traffic.earlier.end_s).sum())
    assert library["timestamp_s"].iloc[-1] > 2_400.0
    assert library["timestamp_s"].is_monotonic_increasing
    assert len(library) % earlier == 0
