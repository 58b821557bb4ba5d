"""The report: a profile beside what was measured, as one HTML file that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from llmserve_env.charts.panel import number
from llmserve_env.charts.scatter import scatter
from llmserve_env.charts.standalone import standalone_page
from llmserve_env.charts.tables import table
from server.calibration.results import Results
from server.calibration.telling import constants, error_head, error_rows, fitted_rows, interval
from simulator.calibration.comparing import Row, held_out
from simulator.calibration.outcomes import FIGURES

DRAWN: Final = ("ttft_p50_ms", "tpot_p50_ms")
LISTED: Final = ("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "itl_p99_ms", "output_tps")
DEFINITIONS: Final = (
    "TTFT: from sending a request to its first output, client's clock.",
    "TPOT: (last output - first output) / (output tokens - 1), per request.",
    "ITL: gaps between successive outputs, all requests of a visit pooled.",
    "A visit: so many clients, each of which sends its next request once the last is answered; "
    "the simulator plays the same clients with the lengths that were sent, as the server counted "
    "them. Its loads are planned before anything is measured, and so is which are held out.",
)
LIMITS: Final = (
    "Constants are fitted to one server at one time. A machine that others use too will not be as "
    "fast tomorrow; the spread between the two visits to a load shows how much it drifted.",
    "Speculation, prefix caching, several GPUs and preemption are not measured by these loads.",
    "The API's time is a constant; where many first tokens come at once, real ones queue for it.",
)


def page(results: Results) -> str:
    """The page."""
    name = results.profile.name
    makers = (_head, _errors, _pictures, _constants, _visits, _range, _foot)
    content = "".join(make(results) for make in makers)
    return standalone_page(f"Profile {name} against a real server", content)


def _head(results: Results) -> str:
    servers = ", ".join(
        dict.fromkeys(f"{each.plan.model} at {each.plan.server}" for each in results.sources)
    )
    dates = ", ".join(dict.fromkeys(source.date for source in results.sources))
    based = f", based on {results.profile.based_on}" if results.profile.based_on else ", as shipped"
    requests = sum(len(row.visit.sent.prompt_tokens) for row in results.rows)
    lead = (
        f"{servers}, measured {dates}: {len(results.rows)} visits, {requests:,} requests. "
        f"Profile {results.profile.name}{based}: {results.profile.gpu.name}, "
        f"{results.profile.model.name}."
    )
    css = "answer" if results.is_passed else "answer bad"
    return (
        f"<h1>Profile {escape(results.profile.name)} against a real server</h1>"
        f'<p class="lead">{escape(lead)}</p>'
        f'<div class="{css}"><p>{escape(results.verdict)}</p></div>' + _items(results.notes)
    )


def _errors(results: Results) -> str:
    rows = [[row.figure, *row.cells] for row in error_rows(results)]
    return (
        "<h2>How far off</h2>"
        '<p class="why">Held-out visits have numbers of clients and lengths that the fit did not '
        "see. A fit is judged by them, not by the visits that it was fitted to.</p>"
        + table(error_head(results), rows, caption="Errors by figure")
    )


def _pictures(results: Results) -> str:
    drawn = []
    for role, rows in (
        ("held out", held_out(results.rows)),
        ("fitted", fitted_rows(results.rows)),
    ):
        for figure in DRAWN:
            pairs = [
                (row.measured[figure], row.simulated[figure])
                for row in rows
                if row.error(figure) is not None
            ]
            if pairs:
                drawn.append(scatter(f"{FIGURES[figure]}, {role} visits", "ms", pairs))
    return f'<h2>Visit by visit</h2><div class="grid2">{"".join(drawn)}</div>'


def _constants(results: Results) -> str:
    if results.file is None:
        return ""
    rows = [
        [name, f"{value.value:.4g}", interval(value), unit, value.source]
        for name, unit, value in constants(results.file)
    ]
    head = ["constant", "value", "95 % interval", "unit", "source"]
    return (
        "<h2>The constants</h2>"
        '<p class="why">Intervals: bootstrap over loads. A wide one says that these loads do not '
        "tell the constant. Attention&#39;s factor is held near 1 where they do not.</p>"
        + table(head, rows, caption="Fitted constants", has_prose=True)
    )


def _visits(results: Results) -> str:
    rows = [
        [
            row.visit.name,
            "fit" if row.visit.role == "fit" else "held out",
            str(len(row.visit.sent.prompt_tokens)),
            *(_pair(row, figure) for figure in LISTED),
        ]
        for row in sorted(results.rows, key=lambda row: (row.visit.role, row.visit.load))
    ]
    head = ["load", "for", "requests", *(f"{FIGURES[figure]}" for figure in LISTED)]
    return (
        "<h2>Measured / simulated</h2>"
        '<p class="why">Latencies in milliseconds; residuals in brackets.</p>'
        + table(head, rows, caption="Every visit, measured and simulated")
    )


def _pair(row: Row, figure: str) -> str:
    error = row.error(figure)
    if error is None:
        return "-"
    return f"{number(row.measured[figure])} / {number(row.simulated[figure])} ({error:+.0%})"


def _range(results: Results) -> str:
    prompts = [int(n) for row in results.rows for n in row.visit.sent.prompt_tokens]
    outputs = [int(n) for row in results.rows for n in row.visit.sent.output_tokens]
    clients = [row.visit.sent.clients for row in results.rows]
    tiers = ", ".join(dict.fromkeys(row.visit.tier for row in results.rows))
    limits = results.sources[0].plan.limits
    items = (
        f"Tiers served: {tiers}.",
        f"{min(clients)} to {max(clients)} clients at once; prompts of {min(prompts):,} to "
        f"{max(prompts):,} tokens, answers of {min(outputs):,} to {max(outputs):,}.",
        f"Server: max_num_seqs {limits.max_num_seqs}, max_num_batched_tokens "
        f"{limits.max_num_batched_tokens}, max_model_len {limits.max_model_len}, as told by its "
        "user. Runs beyond any of this are extrapolated.",
    )
    return f"<h2>Valid for</h2>{_items(items)}"


def _foot(results: Results) -> str:
    folders = " ".join(str(source.folder) for source in results.sources)
    again = f"llmserve calibrate report {folders} --profile {results.profile.name}"
    return (
        f"<h2>Definitions</h2>{_items(DEFINITIONS)}<h2>Limits</h2>{_items(LIMITS)}"
        f"<footer>Written by <code>{escape(again)}</code></footer>"
    )


def _items(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
