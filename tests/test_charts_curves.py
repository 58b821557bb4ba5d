"""Charts of one thing over another."""

import re
from xml.etree import ElementTree

import pytest

from llmserve_env.charts.axes import Axes
from llmserve_env.charts.curves import Curves, picture, side_by_side
from llmserve_env.charts.svg import Box

SVG = "{http://www.w3.org/2000/svg}"


def chart(**changes):
    fields = {
        "title": "Throughput",
        "x_label": "batch cap",
        "y_label": "tokens/s",
        "lines": {"FP16": [(1.0, 80.0), (10.0, 600.0)], "INT8": [(1.0, 130.0), (10.0, 900.0)]},
    }
    return Curves(**fields | changes)


def polylines(drawn):
    found = ElementTree.fromstring(drawn).iter(f"{SVG}polyline")
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in found
    ]


def test_a_logarithmic_x_axis_has_equal_ratios_at_equal_distances():
    axes = Axes(Box(0.0, 0.0, 100.0, 100.0), (1.0, 100.0), (0.0, 1.0), is_log_x=True)

    assert axes.x_px(10.0) == pytest.approx(50.0)


def test_a_higher_value_is_drawn_higher_and_a_larger_one_further_right():
    fp16, int8 = polylines(picture(chart()))

    assert fp16[0][0] < fp16[1][0]
    assert fp16[0][1] > fp16[1][1] > int8[1][1]


def test_lines_are_told_apart_by_colour_and_by_dashes():
    strokes = re.findall(r'<polyline[^>]*stroke="(#\w+)"[^>]*?(?:dasharray="([^"]+)")?\s*/>',
                         picture(chart()))  # fmt: skip

    assert len({colour for colour, _ in strokes}) == 2
    assert len({dash for _, dash in strokes}) == 2


def test_an_agents_line_looks_as_it_does_everywhere():
    drawn = picture(chart(lines={"mine": [(0.0, 1.0), (1.0, 2.0)]}, levels={"ppo": 1.5}))

    assert "PPO specialist" in drawn
    assert "c-vermillion" not in drawn


def test_values_of_both_signs_and_levels_are_inside_the_picture():
    drawn = picture(chart(lines={"mine": [(0.0, -1.0), (1.0, 0.5)]}, levels={"reactive": 2.0}))

    height = float(re.search(r'height="(\d+)"', drawn).group(1))
    assert all(0.0 < y < height for line in polylines(drawn) for _, y in line)


def test_a_notebook_shows_the_picture_its_words_and_its_numbers():
    html = chart(levels={"best_constant": 500.0})._repr_html_()

    assert 'role="img"' in html
    assert "Throughput; tokens/s over batch cap. FP16 from 80 to 600" in html
    assert "<td>900</td>" in html
    assert "Best constant" in html


def test_what_is_not_known_at_an_x_is_a_dash_in_the_table():
    html = side_by_side(chart(lines={"a": [(1.0, 2.0)], "b": [(1.0, 3.0), (2.0, 4.0)]}))

    assert '<th scope="row">2</th><td>-</td><td>4</td>' in html
