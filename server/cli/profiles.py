"""`llmserve profiles`: the GPUs and models that can be simulated, and how far to trust each."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import TIERS
from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen
from server.settings import use_folders_of_environment
from simulator.fidelity_card import FidelityCard, Metric, Span, ValidatedRange
from simulator.hardware import BYTES_PER_GB, all_profile_names, card_of, load_profile
from simulator.hardware_records import Profile
from simulator.profile_files import profiles_folder

NO_CARD: Final = "nothing was compared"
HEADINGS: Final = ("profile", "GPU", "model", "tiers", "US$ / GPU h", "times", "fidelity")
Name = Annotated[str | None, typer.Argument(help="One of them, with its card.")]


def profiles(name: Name = None, as_json: AsJson = False) -> None:
    """List the GPU profiles, or show one: what it offers, its errors and its validated range."""
    use_folders_of_environment()
    if name is not None:
        profile, card = load_profile(name), card_of(name)
        if as_json:
            write_json(facts_of(profile, card) | {"card": card and card.model_dump(mode="json")})
        else:
            _show(profile, card)
        return
    listed, broken = all_profiles()
    if as_json:
        folder = str(profiles_folder())
        write_json(
            {"folder": folder, "profiles": [facts_of(*each) for each in listed]}
            | {"broken": broken}
        )
        return
    shown = screen()
    table = Table(title="GPU profiles", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for profile, card in listed:
        facts = facts_of(profile, card)
        table.add_row(
            profile.name,
            f"{profile.gpu.name}, {facts['memory_gb']:g} GB",
            profile.model.name,
            ", ".join(f"{tier} ({kernel})" for tier, kernel in facts["tiers"].items()),
            f"{profile.gpu.usd_per_hour:g}",
            facts["source"],
            facts["fidelity"],
        )
    shown.print(table)
    for text in broken:
        shown.print(Text(f"Not a profile: {text}"), soft_wrap=True)
    shown.print(Text(f"Your own lie in {profiles_folder()}"), soft_wrap=True)


def all_profiles() -> tuple[list[tuple[Profile, FidelityCard | None]], list[str]]:
    """Every profile with its card, and what is wrong with files that are none."""
    listed, broken = [], []
    for name in all_profile_names():
        try:
            listed.append((load_profile(name), card_of(name)))
        except InvalidInputError as error:
            broken.append(str(error))
    return listed, broken


def facts_of(profile: Profile, card: FidelityCard | None) -> dict[str, Any]:
    """What the list says of a profile, ready for JSON."""
    source = profile.operators
    validated = None if card is None else card.validated
    return {
        "name": profile.name,
        "is_shipped": not profile.based_on,
        "based_on": profile.based_on or None,
        "gpu": profile.gpu.name,
        "memory_gb": profile.gpu.memory_bytes / BYTES_PER_GB,
        "usd_per_gpu_hour": profile.gpu.usd_per_hour,
        "model": profile.model.name,
        "tiers": {tier.name: tier.kernel for tier in profile.tiers},
        "tiers_not_offered": [tier for tier in TIERS if tier not in profile.offered],
        "kv_cache": profile.kv_cache,
        "source": profile.origin or f"{source.backend} {source.backend_version}, {source.origin}",
        "fidelity": NO_CARD if card is None else card.line,
        "validated": None if validated is None else validated.model_dump(mode="json"),
    }


def _show(profile: Profile, card: FidelityCard | None) -> None:
    facts, shown = facts_of(profile, card), screen()
    missing = ", ".join(facts["tiers_not_offered"])
    lines = [
        f"{profile.name}: {profile.model.name} on {profile.gpu.name}, {facts['memory_gb']:g} GB, "
        f"US$ {profile.gpu.usd_per_hour:g} an hour",
        "Tiers: "
        + ", ".join(f"{tier} is {kernel}" for tier, kernel in facts["tiers"].items())
        + (f"; not offered: {missing}" if missing else ""),
        f"Times: {facts['source']}",
    ]
    for line in lines:
        shown.print(Text(line), soft_wrap=True)
    if card is None:
        shown.print("Fidelity: nothing was compared with this profile.")
        return
    if card.metrics:
        shown.print(_metrics_table(card.metrics))
    shown.print(Text(f"Validated: {range_line(card.validated)}"), soft_wrap=True)
    for limit in card.limits:
        shown.print(Text(f"- {limit.name}{limit.text}"), soft_wrap=True)


def _metrics_table(metrics: tuple[Metric, ...]) -> Table:
    table = Table(title="Errors of the simulator", title_justify="left")
    for heading in ("figure", "against", "over", "n"):
        table.add_column(heading, overflow="fold")
    for heading in ("mean error", "mean absolute", "largest", "gate"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in metrics:
        table.add_row(
            each.name + ("" if each.is_independent else " (calibrated on it)"),
            f"{each.against}; {each.source}",
            each.settings,
            str(each.n),
            f"{each.mean_error:+.1%}",
            f"{each.mean_absolute_error:.1%}",
            f"{each.largest_error:+.1%}",
            "-" if each.gate is None else f"< {each.gate:.0%}",
        )
    return table


def range_line(validated: ValidatedRange | None) -> str:
    """Where whole runs were compared, in a line."""
    if validated is None:
        return "no whole run of a real engine was compared"
    depth = validated.speculation_depth
    return (
        f"{', '.join(validated.tiers)}; {_span(validated.sequences)} sequences at once on a GPU, "
        f"prompts of {_span(validated.prompt_tokens)} tokens, "
        f"{_span(validated.context_tokens)} with their output; "
        + (f"speculation depth up to {depth}; " if depth else "no speculation; ")
        + ("split and mixed" if validated.prefill_decode_split else "not split")
    )


def _span(span: Span) -> str:
    return f"{span.low:,.0f} to {span.high:,.0f}"
