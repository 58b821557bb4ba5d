from pathlib import Path

import pytest

from llmserve_env.errors import InvalidInputError

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")

from agents.ppo.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "c.pt"

    write_checkpoint(path, {"update": 3, "rows": [{"a": 0.5}], "array": torch.arange(3)})

    found = read_checkpoint(path)
    assert found["update"] == 3
    assert found["rows"] == [{"a": 0.5}]
    assert found["array"].tolist() == [0, 1, 2]


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path):
    path = tmp_path / "c.pt"
    write_checkpoint(path, {"update": 3})

    with pytest.raises(Exception, match="pickle"):
        write_checkpoint(path, {"update": lambda: 4})

    assert read_checkpoint(path) == {"update": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)

    with pytest.raises(InvalidInputError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "c.pt")


def test_a_full_disk_is_told_as_what_it_is():
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(Path("/dev/full"), {"array": torch.zeros(100_000)})
