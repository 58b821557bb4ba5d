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


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "j").write_text('{"other": 1}\n')

    with pytest.raises(InvalidInputError, match="not the progress"):
        Journal(tmp_path / "j", {"gpus": 2})
