"""`llmserve profiles`: the GPUs and models that can be simulated, and how far to trust each."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen
from server.profile_facts import all_profiles, facts_of, range_line
from server.settings import use_folders_of_environment
from simulator.fidelity_card import FidelityCard, Metric
from simulator.hardware import card_of, load_profile
from simulator.hardware_records import Profile
from simulator.profile_files import profiles_folder

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
            each.name + ("" if each.is_independent else " (not independent)"),
            f"{each.against}; {each.source}",
            each.settings,
            str(each.n),
            f"{each.mean_error:+.1%}",
            f"{each.mean_absolute_error:.1%}",
            f"{each.largest_error:+.1%}",
            "-" if each.gate is None else f"< {each.gate:.0%}",
        )
    return table
