"""What visitors bring is bounded by what it unpacks to, not by what was sent."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmserve_env.errors import InvalidInputError
from server.web.own_traces import MOST_UNPACKED_BYTES, OwnTraces

HEAD = b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = b"2023-11-16 18:17:03.9799600,4808,10\n"


@pytest.fixture
def traces():
    owned = OwnTraces()
    yield owned
    owned.close()


def test_a_recording_of_ordinary_size_is_imported(tmp_path, traces):
    source = tmp_path / "small.csv"
    source.write_bytes(HEAD + 100 * ROW)

    assert "100 requests" in traces.add(source).label


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path, traces):
    source = tmp_path / "bomb.csv.gz"
    with gzip.open(source, "wb", compresslevel=1) as file:
        file.write(HEAD)
        for _ in range(MOST_UNPACKED_BYTES // 3_600_000 + 1):
            file.write(100_000 * ROW)

    assert source.stat().st_size < 2_000_000
    with pytest.raises(InvalidInputError, match="more than 64 MiB once unpacked"):
        traces.add(source)


def test_a_parquet_of_many_equal_rows_is_refused_though_it_is_small(tmp_path, traces):
    source = tmp_path / "bomb.parquet"
    zeros = pa.array([0.0]).take(pa.array([0] * 5_000_000, pa.int8()))
    pq.write_table(pa.table({"timestamp_s": zeros}), source)

    assert source.stat().st_size < 1_000_000
    with pytest.raises(InvalidInputError, match="more than 64 MiB once unpacked"):
        traces.add(source)


def test_what_is_no_parquet_but_begins_like_one_is_refused(tmp_path, traces):
    source = tmp_path / "lies.parquet"
    source.write_bytes(b"PAR1" + bytes(100))

    with pytest.raises(InvalidInputError, match="no readable parquet"):
        traces.add(source)
