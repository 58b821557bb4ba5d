"""An HTML page that stands alone: charts, tables and their rules in one file, nothing from afar."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib import resources
from typing import Final

from llmserve_env.charts.figures import framed, style

# Follows the reader's setting, as the rules of charts.css know a dark page by a class.
SCRIPT: Final = """<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.body.classList.toggle("dark", dark.matches);
follow(); dark.addEventListener("change", follow);
</script>"""


def standalone_page(title: str, content: str, *, rules: str = "") -> str:
    """The page.

    Args:
        title: Of the window; escaped here.
        content: HTML.
        rules: CSS of this page alone, after that of all.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{style()}<style>{_rules()}{rules}</style></head>"
        f"<body>{SCRIPT}<main>{framed(content)}</main></body></html>\n"
    )


@cache
def _rules() -> str:
    file = resources.files("llmserve_env.charts").joinpath("standalone.css")
    return file.read_text(encoding="utf-8")
