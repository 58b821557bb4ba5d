from dataclasses import dataclass

import pytest

from scripts.row_files import read_conditions_of, read_rows, write_rows


@dataclass(frozen=True)
class Row:
    name: str
    count: int
    share: float
    limit: float | None


def test_rows_come_back_as_they_were_written_with_their_conditions(tmp_path):
    path = tmp_path / "rows.csv"
    write_rows(
        path,
        [{"name": "a, b", "count": 2, "share": 0.1, "limit": None}],
        {"engine": "vLLM 0.32.0"},
    )

    assert read_rows(path, Row) == [Row("a, b", 2, 0.1, None)]
    assert read_conditions_of(path) == {"engine": "vLLM 0.32.0"}


def test_other_columns_are_refused_by_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("name,count\na,1\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"rows\.csv: columns \['name', 'count'\], expected"):
        read_rows(path, Row)


def test_a_field_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("name,count,share,limit\na,x,1,\n", encoding="utf-8")

    with pytest.raises(ValueError, match="'x'"):
        read_rows(path, Row)


def test_no_rows_are_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"no rows to write to rows\.csv"):
        write_rows(tmp_path / "rows.csv", [], {})
    assert list(tmp_path.iterdir()) == []
