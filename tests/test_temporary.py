import os
import tempfile

import pytest

from server.settings import Settings, without_page_where_nothing_can_be_written
from server.temporary import can_write_temporary_files, name_temporary_folder


@pytest.fixture
def nowhere(monkeypatch):
    """No usual folder can be written to."""

    def nothing():
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", nothing)
    return monkeypatch


def test_where_no_usual_folder_can_be_written_to_shared_memory_is_the_temporary_one(nowhere):
    nowhere.setattr(os, "access", lambda path, _: path == "/dev/shm")

    name_temporary_folder()

    assert tempfile.gettempdir() == "/dev/shm"
    assert can_write_temporary_files()


def test_where_nothing_can_be_written_the_server_has_no_page(nowhere):
    nowhere.setattr(os, "access", lambda *_: False)

    name_temporary_folder()

    assert tempfile.gettempdir() == "/tmp"
    assert not without_page_where_nothing_can_be_written(Settings()).web_interface


def test_a_page_needs_no_more_than_a_folder_that_can_be_written_to():
    assert without_page_where_nothing_can_be_written(Settings()) == Settings()
