"""Builds the LLMServe tab, by the hook that OpenEnv gives environments for one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from llmserve_env.tasks import shipped_catalogue
from server.web.compare import OPENING_TASK, build_compare, opening_race
from server.web.downloads import Downloads
from server.web.fidelity import build_fidelity
from server.web.html import HEADER, page_style
from server.web.offline import leave_web_fonts_out
from server.web.own_traces import OwnTraces
from server.web.visit import KEPT_S, Shared
from server.web.wheel import build_wheel
from server.web.why import build_why
from server.web.workers import Workers

TAB_NAME = "LLMServe"


class PageBuilder:
    """What OpenEnv calls to make the tab: a `gradio_builder`."""

    def __init__(self, downloads: Downloads, traces: OwnTraces) -> None:
        """Offer files through these and keep visitors' recordings there; nothing is built yet."""
        self._downloads, self._traces = downloads, traces

    def __call__(
        self,
        web_manager: Any,  # noqa: ARG002  OpenEnv's signature; its one environment is everybody's
        action_fields: Any,  # noqa: ARG002
        metadata: Any,  # noqa: ARG002
        is_chat_env: bool,  # noqa: ARG002
        title: str,
        quick_start_md: str,  # noqa: ARG002
    ) -> gr.Blocks:
        """The tab, with a first comparison already played."""
        leave_web_fonts_out()
        opening = opening_race(shipped_catalogue().get(OPENING_TASK))
        shared = Shared(Workers(), self._downloads, self._traces, opening)
        blocks: gr.Blocks
        with gr.Blocks(title=title) as blocks:
            gr.HTML(page_style() + HEADER)
            visit = gr.State(None, time_to_live=KEPT_S)
            with gr.Tabs(elem_classes="ls-tabs"):
                with gr.Tab("Compare agents", id="compare"):
                    build_compare(shared, visit)
                with gr.Tab("Take the wheel", id="wheel"):
                    build_wheel(shared, visit)
                with gr.Tab("Why?", id="why") as why:
                    build_why(shared, visit, why)
                with gr.Tab("Fidelity", id="fidelity") as fidelity:
                    build_fidelity(fidelity)
        return blocks
