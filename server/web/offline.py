"""Keeps the page from fetching anything from elsewhere."""

from __future__ import annotations

from openenv.core.env_server.gradio_theme import OPENENV_GRADIO_THEME


def leave_web_fonts_out() -> None:
    """Take the fonts of other hosts out of OpenEnv's theme; the next in its lists are local.

    Call it before OpenEnv hands the theme to Gradio. Gradio keeps the addresses of style sheets
    nowhere else.
    """
    sheets = OPENENV_GRADIO_THEME._stylesheets
    sheets[:] = [sheet for sheet in sheets if not sheet.startswith("http")]
