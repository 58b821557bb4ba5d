"""Recordings of every format, and what is made of them."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from llmserve_env.errors import InvalidInputError
from simulator.trace_files.card import read_card
from simulator.trace_files.importing import import_trace
from simulator.traces import read_trace
from tests import trace_recordings as recordings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def imported(tmp_path):
    """What becomes of a text: its card, its trace and its parquet."""

    def run(text, name="source.dat", **options):
        source, target = tmp_path / name, tmp_path / "out" / "mine.parquet"
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
        card = import_trace(source, target, **options)
        return card, read_trace(target), pq.read_table(target)

    return run


@pytest.mark.parametrize(
    ("text", "name", "arrival_s", "prompts", "outputs"),
    [
        (recordings.AZURE_2023, "azure", [0.0, 0.25, 2.0000001], [100, 200, 300], [10, 20, 30]),
        (recordings.AZURE_2024, "azure", [0.0, 1.5], [100, 200], [10, 20]),
        (recordings.VIDUR, "vidur", [0.0, 1.5], [100, 200], [10, 20]),
        (recordings.LITELLM, "litellm", [0.0, 3.0], [100, 300], [10, 30]),
        (recordings.BAILIAN, "bailian", [0.0, 1.5], [40, 60], [10, 20]),
        (recordings.RAGPULSE, "ragpulse", [0.0, 4.0], [100, 200], [10, 20]),
        (recordings.VLLM, "vllm", [0.0, 2.0], [100, 300], [10, 30]),
        (recordings.OTLP, "otlp", [0.0, 2.5], [100, 300], [10, 30]),
        (recordings.AIPERF, "aiperf", [0.0, 2.0], [100, 300], [10, 30]),
        (recordings.GUIDELLM, "guidellm", [0.0, 2.5], [100, 300], [10, 30]),
        (recordings.KV_CACHE_TESTER, "kv_cache_tester", [0.0, 9.0], [200, 260], [10, 20]),
        (recordings.NATIVE, "native", [0.0, 0.5, 2.0], [100, 200, 300], [10, 20, 30]),
    ],
)
def test_a_recording_is_told_by_its_columns_and_read(
    imported, text, name, arrival_s, prompts, outputs
):
    card, trace, _ = imported(text)

    assert card.source_format == name
    assert trace.arrival_s.tolist() == pytest.approx(arrival_s, abs=1e-9)
    assert trace.prompt_tokens.tolist() == prompts
    assert trace.output_tokens.tolist() == outputs


@pytest.mark.parametrize(
    ("text", "read", "dropped"),
    [
        (recordings.BURSTGPT_V1, 3, {"no output tokens": 1}),
        (recordings.LITELLM, 3, {"failed or cancelled": 1}),
        (recordings.OPENAI, 3, {"no token counts": 1}),
        (recordings.VLLM, 3, {"failed or cancelled": 1}),
        (recordings.OTLP, 4, {"span of no request": 1, "failed or cancelled": 1}),
        (recordings.AIPERF, 4, {"warm-up of a benchmark": 1, "failed or cancelled": 1}),
        (recordings.GUIDELLM, 3, {"failed or cancelled": 1}),
        (recordings.KV_CACHE_TESTER, 3, {"no time": 1}),
    ],
)
def test_what_is_left_out_is_counted_by_reason(imported, text, read, dropped):
    card, _, _ = imported(text)

    assert card.rows_read == read
    assert card.dropped == dropped
    assert card.rows == read - sum(dropped.values())


def test_whole_seconds_of_burstgpt_are_spread_within_their_second(imported):
    card, trace, table = imported(recordings.BURSTGPT_V1)

    assert card.jitter.tick_s == 1.0
    assert 2.0 < trace.arrival_s[1] < 4.0
    assert table["tenant"].to_pylist() == ["Conversation log", "API log"]


def test_the_ticks_of_mooncake_are_found_and_spread(imported):
    card, trace, table = imported(recordings.MOONCAKE)

    assert card.time_unit == "ms"
    assert card.zero_gap_fraction == 0.8
    assert card.jitter.tick_s == 3.0
    assert len(set(trace.arrival_s.tolist())) == 6
    assert set(trace.prompt_tokens[:3].tolist()) == {1100, 1200, 300}
    assert sorted(table["prefix_hit_tokens"].to_pylist()) == [0, 0, 0, 0, 500, 1024]


def test_spreading_is_fixed_by_its_seed(imported):
    first = imported(recordings.MOONCAKE, jitter_seed=1)[1].arrival_s.tolist()
    again = imported(recordings.MOONCAKE, jitter_seed=1)[1].arrival_s.tolist()
    other = imported(recordings.MOONCAKE, jitter_seed=2)[1].arrival_s.tolist()

    assert first == again
    assert first != other


def test_sessions_become_hashes_that_are_the_same_for_the_same_session(imported):
    _, _, table = imported(recordings.BURSTGPT_V3)

    first, second, third = table["session_id"].to_pylist()

    assert first == third
    assert first != second


def test_priority_and_tenant_are_kept_beside_their_rows(imported):
    _, trace, table = imported(recordings.NATIVE)

    assert trace.priority_class.tolist() == [0, 1, 2]
    assert table["tenant"].to_pylist() == ["chat", "chat", "batch"]


def test_no_text_of_a_prompt_or_an_answer_is_kept(imported, tmp_path):
    for text in (recordings.LITELLM, recordings.OPENAI, recordings.VLLM, recordings.GUIDELLM):
        imported(text)

        kept = (tmp_path / "out" / "mine.parquet").read_bytes()

        assert b"secret" not in kept


def test_the_card_tells_source_checksum_licence_and_start(imported, tmp_path):
    imported(recordings.AZURE_2024, licence="CC-BY-4.0")

    card = read_card(tmp_path / "out" / "mine.parquet")

    assert card.source == "source.dat"
    assert card.source_sha256 == (
        "d4054d0334927ba069e2ab5172fbf79ff531b9c55591c6203e03d2dd48d8f1d1"
    )
    assert card.licence == "CC-BY-4.0"
    assert card.start_utc == "2024-05-10T00:00:00+00:00"
    assert card.duration_s == 1.5


@pytest.mark.parametrize(
    ("factor", "unit"), [(1, "s"), (1_000, "ms"), (1_000_000, "us"), (1_000_000_000, "ns")]
)
def test_the_unit_of_a_time_since_1970_is_told_by_its_size(imported, factor, unit):
    rows = [f"{1_750_000_000 * factor + offset * factor},{10},{5}" for offset in (0, 2)]
    text = "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""])

    card, trace, _ = imported(text)

    assert card.time_unit == unit
    assert trace.arrival_s.tolist() == [0.0, 2.0]


def test_packed_files_are_unpacked(imported):
    card, trace, _ = imported(gzip.compress(recordings.MOONCAKE.encode()), "trace.jsonl.gz")

    assert card.source_format == "mooncake"
    assert len(trace.arrival_s) == 6


def test_a_parquet_of_ones_own_is_imported(tmp_path):
    source = tmp_path / "source.parquet"
    times = pd.to_datetime(["2024-01-01T00:00:03", "2024-01-01T00:00:00"])
    frame = pd.DataFrame({"TIMESTAMP": times, "ContextTokens": [2, 1], "GeneratedTokens": [4, 3]})
    frame.to_parquet(source)

    import_trace(source, tmp_path / "mine.parquet")

    trace = read_trace(tmp_path / "mine.parquet")
    assert trace.arrival_s.tolist() == [0.0, 3.0]
    assert trace.prompt_tokens.tolist() == [1, 2]


HEAD = "timestamp_s,prompt_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"source\.dat: is empty"),
        ("a,b,c\n1,2,3\n", r"of no known format: it has 'a', 'b', 'c'"),
        (HEAD + "0,1,1\n1,many,1\n", r"line 3: prompt_tokens must be .*, got 'many'"),
        (HEAD + "0,1,1\n1,2,-3\n", r"line 3: output_tokens must be .*, got '-3'"),
        (HEAD + "0,1,1\nlater,2,3\n", r"line 3: timestamp_s must be a time .*, got 'later'"),
        (HEAD + "0,1,1\ninf,2,3\n", r"line 3: timestamp_s must be a time .*, got 'inf'"),
        (HEAD + "0,1,1\n1,2\n", r"line 3: Expected 3 columns, got 2"),
        (HEAD + "0,1.5,1\n", r"line 2: prompt_tokens must be a whole number .*, got '1\.5'"),
        (HEAD + "0,99999999999,1\n", r"line 2: prompt_tokens must be .*'99999999999'"),
        ("timestamp_s," + HEAD + "0,0,1,1\n", r"several columns named timestamp_s"),
        (HEAD, r"holds no request; left out: nothing was there"),
        (HEAD + "0,1,0\n", r"holds no request; left out: 1 no output tokens"),
        (b"PK\x03\x04rest", r"is a zip archive; unpack it"),
        (b"PAR1 but no parquet", r"not a readable parquet file"),
        (b"\x1f\x8b\x08\x00broken", r"cannot be unpacked"),
        (b"\x00\x01\x02\x03", r"is binary and no parquet"),
        (recordings.MOONCAKE + '{"timestamp": 1,\n', r"line 7: not JSON"),
        (recordings.MOONCAKE + "[1]\n", r"line 7: must be an object, got list"),
        (recordings.MOONCAKE + '{"timestamp": 1}\n', r"line 7: lacks input_length, output_length"),
        (
            recordings.MOONCAKE.replace("500", '"soon"'),
            r"line 4: input_length must be .*, got 'soon'",
        ),
        ('{"input_lens": [1], "output_lens": [1]}', r"lacks start_times"),
        ('[{"conversations": []}]', r"conversations without times or token counts"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_place(imported, tmp_path, text, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        imported(text)

    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").glob("*")) == [] if (tmp_path / "out").exists() else True


def test_a_line_is_named_rightly_behind_texts_of_several_lines(imported):
    broken = recordings.LITELLM.replace("m2,300", "m2,x00")

    with pytest.raises(InvalidInputError, match=r"line 5: prompt_tokens must be .*'x00'"):
        imported(broken)


def test_priority_in_some_rows_only_is_refused(imported):
    row = {"timestamp_s": 0, "prompt_tokens": 1, "output_tokens": 1}
    text = recordings.lines({**row, "priority": 1}, row)

    with pytest.raises(InvalidInputError, match="line 2: priority must be given"):
        imported(text)


def test_another_format_than_the_one_asked_for_is_refused(imported):
    with pytest.raises(InvalidInputError, match="not of format 'burstgpt': it lacks Request"):
        imported(recordings.AZURE_2023, format_name="burstgpt")


def test_an_unknown_format_lists_the_known(imported):
    with pytest.raises(InvalidInputError, match="unknown format 'azur'; known: native, azure"):
        imported(recordings.AZURE_2023, format_name="azur")


def test_a_file_is_never_replaced_by_its_own_import(imported, tmp_path):
    imported(recordings.NATIVE)
    trace = tmp_path / "out" / "mine.parquet"

    with pytest.raises(InvalidInputError, match="would be replaced by its own import"):
        import_trace(trace, trace)


def test_a_failed_import_leaves_what_was_there(imported, tmp_path):
    imported(recordings.NATIVE)
    target = tmp_path / "out" / "mine.parquet"
    before = target.read_bytes()

    with pytest.raises(InvalidInputError):
        imported(HEAD + "0,1,1\n1,many,1\n")

    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["mine.parquet"]


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_no_trace_of_that_name(tmp_path):
    source, target = tmp_path / "large.csv", tmp_path / "out" / "mine.parquet"
    with source.open("w") as file:
        file.write(HEAD)
        file.writelines(f"{index * 0.01:.2f},100,10\n" for index in range(1_500_000))
    program = (
        "from pathlib import Path; from simulator.trace_files.importing import import_trace; "
        f"import_trace(Path({str(source)!r}), Path({str(target)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    while not list(target.parent.glob(".import-*/run0.npy")):
        assert process.poll() is None
        time.sleep(0.01)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert not target.exists()


def test_the_json_of_a_card_is_what_is_read_back(imported):
    card, _, table = imported(recordings.NATIVE)

    kept = json.loads(table.schema.metadata[b"llmserve_trace"])

    assert kept == card.model_dump(mode="json")
