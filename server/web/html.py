"""The page's fixed words."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from llmserve_env.charts.figures import style

HEADER: Final = """\
<header class="ls-header"><p class="oe-eyebrow">llmserve_env &middot; live control room</p>
<h1>Who runs the engine best?</h1>
<p>Six knobs of an LLM serving engine, set once a second while requests arrive, queue, are batched
and finish or miss their objectives. Watch agents drive the same traffic, take the wheel yourself,
and see why each window went as it did.</p></header>"""

SCALE_NOTE: Final = """\
<div class="ls-scale" role="note"><div class="ls-rule" aria-hidden="true">
<span style="left:0">0</span><span style="left:50%">0.5</span><span style="left:100%">1</span></div>
<p><b>How to read a grade.</b> 0 is an agent that moves every knob at random. 0.5 is the best fixed
setting that a search found, replayed on the very same requests. 1 is a planner that knows every
request to come. Above 0.5 an agent earns its keep by moving knobs; below, leaving them alone
serves better.</p></div>"""

AGENTS_NOTE: Final = '<dl class="ls-agents">{rows}</dl>'


@cache
def page_style() -> str:
    """The style elements of the page: of its charts and its own."""
    own = resources.files("server.web").joinpath("page.css").read_text(encoding="utf-8")
    return f"{style()}<style>{own}</style>"
