from xml.etree import ElementTree

import pytest

from llmserve_env.errors import InvalidInputError
from scripts import measure_peers
from scripts.learning_curves import Anchors, Curve
from scripts.measure_peers import PEERS, Trained, page, run, side_by_side

TASK = measure_peers.TASK_ID
HEADER = f"steps,wall_s,{TASK}/mean,{TASK}/difference\n"
TRAINER = """
import sys
from pathlib import Path
if "--fail" in sys.argv:
    sys.exit(3)
out = Path(sys.argv[sys.argv.index("--out") + 1]).with_suffix(".csv")
out.write_text("{header}0,1,0.5,-0.1\\n100,20,0.8,0.05\\n")
"""


def trained(number, *differences, seeds=2):
    curves = [Curve(seed, (0.0, 100.0), {TASK: differences}) for seed in range(seeds)]
    return Trained(PEERS[number], tuple(curves), (50.0, 40.0), "python x.py")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one peer, whose trainings take no time."""
    (tmp_path / "x.py").write_text(TRAINER.format(header=HEADER.strip() + "\\n"))
    peer = measure_peers.Peer("x", "X", ("x.py",), ".zip")
    monkeypatch.setattr(measure_peers, "ROOT", tmp_path)
    monkeypatch.setattr(measure_peers, "REPORT", tmp_path / "page.md")
    monkeypatch.setattr(measure_peers, "CURVES", tmp_path / "curves")
    monkeypatch.setattr(measure_peers, "PEERS", (peer,))
    monkeypatch.setattr(measure_peers, "headroom_anchors", lambda: {TASK: Anchors(0.07, 0.13)})
    return tmp_path


def test_the_page_tells_what_was_kept_and_what_came_last():
    text = page([trained(0, 0.06, 0.05)], Anchors(reactive=0.07, clairvoyant=0.13))

    assert "| +0.0600 +0.0600 | +0.0600 | +0.0500 +0.0500 | +0.0500 | 50 40 |" in text
    assert "tuned reactive controller +0.0700, clairvoyant planner +0.1300" in text


def test_every_trainer_has_a_panel_of_its_own():
    curves = side_by_side([trained(0, -0.1, 0.05), trained(2, -0.1, 0.06)])

    assert [curve.seed for curve in curves] == [0, 1]
    assert curves[0].differences == {
        "SB3 PPO": (-0.1, 0.05),
        "CleanRL-style PPO": (-0.1, 0.06),
    }


def test_trainings_end_in_a_page_curves_and_a_picture(project):
    run(steps=100, seeds=2)

    assert "| X | 100 | +0.0500 +0.0500 |" in (project / "page.md").read_text()
    assert (project / "curves" / "x.csv").read_text().splitlines() == [
        f"seed,steps,{TASK}/difference",
        "0,0,-0.1",
        "0,100,0.05",
        "1,0,-0.1",
        "1,100,0.05",
    ]
    assert ElementTree.parse(project / "curves" / "peers.svg").getroot().tag.endswith("svg")


def test_a_complete_training_is_not_repeated(project):
    run(steps=100, seeds=1)
    (project / "x.py").unlink()

    run(steps=100, seeds=1)

    with pytest.raises(InvalidInputError, match="ended with status"):
        run(steps=101, seeds=1)


@pytest.mark.usefixtures("project")
def test_a_training_that_fails_is_named(monkeypatch):
    peer = measure_peers.Peer("x", "X", ("x.py", "--fail"), ".zip")
    monkeypatch.setattr(measure_peers, "PEERS", (peer,))

    with pytest.raises(InvalidInputError, match=r"x\.py --fail .* ended with status 3"):
        run(steps=100, seeds=1)
