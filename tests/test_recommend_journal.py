import pytest

from agents.recommend.journal import Journal
from llmserve_env.errors import InvalidInputError


def test_a_step_is_made_once_and_remembered_by_the_next_process(tmp_path):
    made = []
    for _ in range(2):
        with Journal(tmp_path / "j", {"a": 1}) as journal:
            value = journal.recall("step", lambda: made.append(1) or [1.5, None])

    assert value == [1.5, None]
    assert made == [1]
    assert journal.reused == 1


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path):
    with Journal(tmp_path / "j", {"a": 1}) as journal:
        journal.recall("first", lambda: 1)
        journal.recall("second", lambda: 2)
    path = tmp_path / "j"
    path.write_bytes(path.read_bytes()[:-4])

    with Journal(path, {"a": 1}) as journal:
        again = [journal.recall(key, lambda: 3) for key in ("first", "second")]

    assert again == [1, 3]
    assert all(line.endswith("}") for line in path.read_text().splitlines())


def test_the_progress_of_another_study_is_refused_and_named(tmp_path):
    Journal(tmp_path / "j", {"gpus": 1}).__exit__(None, None, None)

    with pytest.raises(InvalidInputError, match=r"gpus 1 -> 2.*--fresh"):
        Journal(tmp_path / "j", {"gpus": 2})


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"other": 1}', "line 1 is no row"), ('{"key": "a", "value": 1}', "not the progress")],
)
def test_a_file_that_is_no_journal_is_refused(tmp_path, line, message):
    (tmp_path / "j").write_text(line + "\n")

    with pytest.raises(InvalidInputError, match=message):
        Journal(tmp_path / "j", {"gpus": 2})


def test_a_line_that_is_broken_in_the_middle_loses_nothing_that_follows(tmp_path):
    path = tmp_path / "j"
    with Journal(path, {"a": 1}) as journal:
        journal.recall("first", lambda: 1)
    path.write_bytes(path.read_bytes() + b"broken\n" + b'{"key": "second", "value": 2}\n')
    before = path.read_bytes()

    with pytest.raises(InvalidInputError, match="line 3 is no row"):
        Journal(path, {"a": 1})

    assert path.read_bytes() == before
