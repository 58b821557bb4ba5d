import pytest

from llmserve_env.charts.axes import Axes, ticks
from llmserve_env.charts.svg import Box, figure_element, rectangle


@pytest.mark.parametrize(
    ("limits", "most", "expected"),
    [
        ((0.0, 300_000.0), 5, [0.0, 100_000.0, 200_000.0, 300_000.0]),
        ((-0.05, 0.12), 8, [-0.05, 0.0, 0.05, 0.1]),
        ((0.01, 0.03), 2, [0.01, 0.02, 0.03]),
    ],
)
def test_ticks_are_round_numbers_within_the_limits(limits, most, expected):
    assert ticks(limits, most) == expected


def test_values_land_between_the_edges_of_the_box():
    axes = Axes(Box(left=10, top=20, right=110, bottom=220), (0.0, 50.0), (-1.0, 1.0))

    assert axes.point(0.0, -1.0) == (10.0, 220.0)
    assert axes.point(25.0, 0.0) == (60.0, 120.0)
    assert axes.point(50.0, 1.0) == (110.0, 20.0)


def test_axes_have_room_around_the_values():
    box = Box(left=0, top=0, right=1, bottom=1)

    axes = Axes.around(box, x_values=[10.0, 20.0], y_values=[0.0, 1.0])

    assert axes.x_range == (0.0, 20.0)
    assert axes.y_range == (-0.06, 1.06)


def test_axes_of_a_single_value_are_not_empty():
    axes = Axes.around(Box(0, 0, 1, 1), x_values=[1.0], y_values=[2.0, 2.0])

    assert axes.y_range[0] < 2.0 < axes.y_range[1]


def test_a_rectangle_fills_its_box():
    figure = figure_element(100, 50)

    rectangle(figure, Box(left=10, top=20, right=40, bottom=30), "#ABCDEF")

    drawn = figure[-1].attrib
    assert drawn == {"x": "10.0", "y": "20.0", "width": "30.0", "height": "10.0", "fill": "#ABCDEF"}
