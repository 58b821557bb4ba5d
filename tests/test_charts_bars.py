from xml.etree import ElementTree

from llmserve_env.charts.bars import Bars, bar_picture, sparkline


def test_the_highest_value_fills_its_line_and_zero_is_blank():
    assert sparkline([0.0, 1.0, 4.0, 8.0]) == " ▂▅█"
    assert sparkline([]) == ""


def test_a_picture_has_a_bar_a_value_and_escapes_its_title():
    text = bar_picture("a < b", [Bars("rate", [1.0, 2.0, 0.0], "start", "end", "rps")])

    root = ElementTree.fromstring(text)
    bars = [each for each in root.iter() if each.get("fill") == "#0072B2"]
    assert root.get("aria-label") == "a < b"
    assert [bar.get("height") for bar in bars] == ["65.0", "130.0", "0.0"]
