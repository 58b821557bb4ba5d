from xml.etree import ElementTree

import pytest

from scripts.learning_curves import Anchors, Curve, picture, read_curve, write_curves

SVG = "{http://www.w3.org/2000/svg}"
ANCHORS = {"a": Anchors(reactive=0.1, clairvoyant=0.2)}


def curves(*, seeds=3, tasks=("a",)):
    return [
        Curve(seed, (100.0, 200.0), dict.fromkeys(tasks, (-0.1, 0.05 * seed)))
        for seed in range(seeds)
    ]


def texts(figure):
    return [element.text for element in figure.iter(f"{SVG}text")]


def test_a_curve_is_read_back_from_what_a_training_writes(tmp_path):
    file = tmp_path / "curve.csv"
    file.write_text("steps,wall_s,a/mean,a/difference\n100,1,0.5,-0.1\n200,2,0.6,0.25\n")

    assert read_curve(file, 4) == Curve(4, (100.0, 200.0), {"a": (-0.1, 0.25)})


def test_curves_are_written_with_a_row_per_seed_and_validation(tmp_path):
    write_curves(tmp_path / "p.csv", curves(seeds=2, tasks=("a", "b")))

    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "seed,steps,a/difference,b/difference",
        "0,100,-0.1,-0.1",
        "0,200,0,0",
        "1,100,-0.1,-0.1",
        "1,200,0.05,0.05",
    ]


def test_a_picture_is_well_formed_whatever_its_title():
    figure = ElementTree.fromstring(picture("a < b & c", curves(), ANCHORS))

    assert figure.tag == f"{SVG}svg"
    assert "a < b & c" in texts(figure)


def test_a_picture_names_its_axes_and_lines():
    figure = ElementTree.fromstring(picture("p", curves(), ANCHORS))

    assert {
        "windows learnt from",
        "raw score, less best constant's",
        "median of 3 seeds",
        "best constant",
        "tuned reactive",
        "clairvoyant",
    } <= set(texts(figure))


@pytest.mark.parametrize("tasks", [("a",), ("a", "b", "c")])
def test_a_picture_has_a_line_per_seed_and_their_median_in_every_panel(tasks):
    anchors = dict.fromkeys(tasks, ANCHORS["a"])

    figure = ElementTree.fromstring(picture("p", curves(seeds=5, tasks=tasks), anchors))

    assert len(list(figure.iter(f"{SVG}polyline"))) == 6 * len(tasks)


def test_the_thick_line_is_the_median_of_the_seeds():
    figure = ElementTree.fromstring(picture("p", curves(seeds=3), ANCHORS))

    *seeds, thick = [element.get("points") for element in figure.iter(f"{SVG}polyline")]
    assert thick == seeds[1]
