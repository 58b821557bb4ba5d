"""`llmserve profiles`: the GPUs and models that can be simulated, and how far to trust each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen
from server.profile_facts import all_profiles, facts_of, range_line
from simulator.fidelity_card import FidelityCard, Metric
from simulator.hardware import card_of, load_profile
from simulator.hardware_records import Profile
from simulator.profile_files import profiles_folder

Name = Annotated[str | None, typer.Argument(help="One of them, with its card.")]


def profiles(name: Name = None, as_json: AsJson = False) -> None:
    """List the GPU profiles, or show one: what it offers, its errors and its validated range."""
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
    shown.print(_offered_table(listed))
    shown.print(_trust_table(listed))
    for text in broken:
        shown.print(Text(f"Not a profile: {text}"), soft_wrap=True)
    shown.print(Text(f"Your own lie in {profiles_folder()}"), soft_wrap=True)


def _offered_table(listed: Sequence[tuple[Profile, FidelityCard | None]]) -> Table:
    table = _table("GPU profiles")
    table.add_column("profile", overflow="fold")
    table.add_column("GPU", overflow="fold")
    for heading in ("GB", "US$ / h"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("tiers", no_wrap=True)
    for profile, card in listed:
        facts = facts_of(profile, card)
        table.add_row(
            profile.name,
            profile.gpu.name,
            f"{facts['memory_gb']:g}",
            f"{profile.gpu.usd_per_hour:g}",
            ", ".join(facts["tiers"]),
        )
    return table


def _trust_table(listed: Sequence[tuple[Profile, FidelityCard | None]]) -> Table:
    table = _table("How far to trust each")
    table.add_column("profile", overflow="fold")
    table.add_column("model, where its times come from, fidelity", overflow="fold")
    for profile, card in listed:
        facts = facts_of(profile, card)
        told = f"{profile.model.name}; {facts['source']}\n{facts['fidelity']}"
        table.add_row(profile.name, Text(told))
    return table


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
    table = _table("Errors of the simulator")
    table.add_column("figure, against what, over which runs")
    for heading in ("n", "mean", "mean\nabsolute", "largest", "gate"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in metrics:
        told = each.name + ("" if each.is_independent else " (not independent)")
        told += f"\n{each.against}; {each.settings}; {each.source}"
        table.add_row(
            Text(told),
            str(each.n),
            f"{each.mean_error:+.1%}",
            f"{each.mean_absolute_error:.1%}",
            f"{each.largest_error:+.1%}",
            "-" if each.gate is None else f"< {each.gate:.0%}",
        )
    return table


def _table(title: str) -> Table:
    """Without walls, so that a terminal of 80 columns holds it."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
