import json

import pytest

from grader.references import parse_references
from llmserve_env.tasks import shipped_catalogue
from scripts.make_reference_scores import main, reference_text
from tests.headroom_results import results


def test_the_grader_reads_what_is_written(tmp_path):
    source, target = tmp_path / "headroom.json", tmp_path / "references.json"
    source.write_text(json.dumps(results()))

    status = main(source, target)

    references = parse_references(target.read_text(), shipped_catalogue())
    assert status == 0
    assert references.episodes == 4
    assert references.tasks["static_workload"].gap_above == pytest.approx(0.15)
    assert references.note == ""


def test_results_of_another_version_make_no_anchors(tmp_path, capsys):
    source, target = tmp_path / "headroom.json", tmp_path / "references.json"
    source.write_text(json.dumps(results() | {"environment_version": "0.0.1"}))

    status = main(source, target)

    assert status == 1
    assert "0.0.1" in capsys.readouterr().err
    assert not target.exists()


def test_missing_results_make_no_anchors(tmp_path, capsys):
    assert main(tmp_path / "headroom.json", tmp_path / "references.json") == 1
    assert "scripts.measure_headroom" in capsys.readouterr().err


def test_a_planner_below_the_constant_makes_no_anchors():
    with pytest.raises(ValueError, match="gap_above"):
        reference_text(results(clairvoyant=0.7))
