import os
import threading

import pytest

from agents.result_files import write_json, write_text


def test_a_file_is_written_in_a_folder_that_did_not_exist(tmp_path):
    write_json(tmp_path / "new" / "result.json", {"score": 0.5})

    assert (tmp_path / "new" / "result.json").read_text() == '{\n "score": 0.5\n}\n'


def test_nothing_but_the_file_is_left(tmp_path):
    write_text(tmp_path / "result.txt", "first")
    write_text(tmp_path / "result.txt", "second")

    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
    assert (tmp_path / "result.txt").read_text() == "second"


def test_what_json_cannot_say_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "result.json", [1])

    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "result.json", [float("nan")])

    assert (tmp_path / "result.json").read_text() == "[\n 1\n]\n"


def test_what_is_no_plain_file_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    write_text(pipe, "result")

    reader.join()
    assert read == ["result"]
    assert pipe.is_fifo()


def test_a_folder_is_refused_and_stays(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "result")

    assert tmp_path.is_dir()


def test_a_link_stays_a_link(tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "target.txt")

    write_text(link, "result")

    assert link.is_symlink()
    assert (tmp_path / "target.txt").read_text() == "result"
