import pytest

from agents.ppo.curve import write_curve

pytest.importorskip("torch")
pytestmark = pytest.mark.needs_torch

from agents.ppo.curve import Board  # noqa: E402


def test_a_curve_is_a_table_with_a_heading(tmp_path):
    write_curve(
        tmp_path / "runs" / "c.csv", [{"steps": 100.0, "mean": 0.5}, {"steps": 200.0, "mean": 0.25}]
    )

    assert (tmp_path / "runs" / "c.csv").read_text() == "steps,mean\n100,0.5\n200,0.25\n"


def test_tensorboard_gets_its_events(tmp_path):
    pytest.importorskip("tensorboard")
    board = Board(tmp_path)

    board.add(100, {"mean": 0.5})
    board.close()

    assert [path.name.split(".")[1] for path in tmp_path.iterdir()] == ["out"]
