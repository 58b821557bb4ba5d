"""SECURITY.md names the tests that hold its promises: each is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_file_that_the_page_names_is_there():
    names = re.findall(r"`((?:tests|scripts|docs|\.github)/[\w./-]+)`", PAGE)

    assert len(names) > 15
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_every_test_that_the_page_names_is_there():
    names = re.findall(r"`(test_\w+)`", PAGE)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))

    assert len(names) > 10
    assert [name for name in names if f"def {name}(" not in sources] == []
