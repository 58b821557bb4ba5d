"""Lines over time as braille."""

import pytest

from server.cli.live_chart import Line, Room, Scale, chart, scale_over

ROOM = Room(columns=13, rows=2, windows=8)


def dots_of(values, **options):
    text = chart("title", [Line(values, "red")], Scale(0.0, 7.0), ROOM, **options)
    return text.plain.splitlines()


def test_a_rising_line_goes_from_the_bottom_to_the_top():
    title, top, bottom = dots_of([0, 1, 2, 3, 4, 5, 6, 7])

    assert title == "title"
    assert top[:9] == "      7 ┤"
    assert bottom[:9] == "      0 ┤"
    assert top[9] == " " != top[-1]
    assert bottom[-1] == " " != bottom[9]


def test_windows_without_a_value_leave_a_gap():
    _, top, bottom = dots_of([0, 0, None, None, None, None, 0, 0])

    assert top.strip(" 7┤") == ""
    assert bottom[9:] == "⣀  ⣀"


def test_values_beyond_the_scale_lie_at_its_end():
    _, top, _ = dots_of([100.0] * 8)

    assert top[9:] == "⠉⠉⠉⠉"


def test_a_log_scale_gives_equal_ratios_equal_room():
    scale = Scale(1.0, 100.0, is_log=True)

    assert scale.height(1.0) == 0.0
    assert scale.height(10.0) == pytest.approx(0.5)
    assert scale.height(0.001) == 0.0


def test_a_scale_holds_all_values_from_zero_up():
    assert scale_over([[1.0, None], [5.0]]) == Scale(0.0, 5.0)


def test_a_scale_goes_below_zero_where_values_do():
    assert scale_over([[-3.0, 2.0]]) == Scale(-3.0, 2.0)


def test_a_scale_of_nothing_still_has_room():
    assert scale_over([[None]]) == Scale(0.0, 1.0)
    assert scale_over([[None]], is_log=True) == Scale(1.0, 10.0, is_log=True)


def test_a_log_scale_lies_between_powers_of_ten():
    assert scale_over([[0.0, 40.0, 2500.0]], is_log=True) == Scale(10.0, 10_000.0, is_log=True)


def test_a_level_is_dotted_across():
    _, top, bottom = dots_of([], level=0.0)

    assert bottom[9:] == " ⣀⣀ "
    assert top[9:].strip() == ""
