import pytest

from agents.kept_rows import KeptRows
from llmserve_env.errors import InvalidInputError


def opened(path):
    return KeptRows(path, lambda row: row["name"])


def test_rows_come_back_as_they_were(tmp_path):
    with opened(tmp_path / "new" / "rows.jsonl") as rows:
        rows.add({"name": "a", "value": 0.1})

    with opened(tmp_path / "new" / "rows.jsonl") as again:
        assert "a" in again
        assert "b" not in again
        assert again["a"] == {"name": "a", "value": 0.1}


def test_a_line_that_was_cut_off_is_dropped_and_what_follows_is_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n{"name": "b", "va')

    with opened(path) as rows:
        assert len(rows) == 1
        rows.add({"name": "c"})

    assert path.read_text().splitlines() == ['{"name": "a"}', '{"name":"c"}']


def test_a_key_counts_once(tmp_path):
    path = tmp_path / "rows.jsonl"
    with opened(path) as rows:
        rows.add({"name": "a", "value": 1})
        rows.add({"name": "a", "value": 2})
        assert rows["a"]["value"] == 1

    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("line", ["no row", "[1]", '{"other": 1}', "5"])
def test_a_whole_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"name": "a"}}\n{line}\n')

    with pytest.raises(InvalidInputError, match=r"rows.jsonl: line 2 is no row"):
        opened(path)

    assert path.read_text().endswith(f"{line}\n")


def test_two_programs_do_not_write_at_once(tmp_path):
    path = tmp_path / "rows.jsonl"

    with opened(path), pytest.raises(InvalidInputError, match="another run writes to it"):
        opened(path)
