"""GET /profiles and /profiles/NAME: what can be simulated, and how far to trust it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from server.profile_facts import all_profiles, facts_of
from simulator.fidelity_card import FidelityCard
from simulator.hardware import card_of, load_profile


def profile_router() -> APIRouter:
    """The routes of the GPU profiles."""
    router = APIRouter(tags=["Environment Info"])

    @router.get("/profiles")
    async def profiles() -> dict[str, Any]:
        """Every GPU profile: GPU, model, tiers, price, fidelity in a line, validated range."""
        listed, broken = all_profiles()
        return {"profiles": [facts_of(*each) for each in listed], "broken": broken}

    @router.get("/profiles/{name}")
    async def profile(name: str) -> dict[str, Any]:
        """One profile with its fidelity card: errors by figure, the runs behind them, limits."""
        found, card = load_profile(name), card_of(name)
        return facts_of(found, card) | {"card": _card(card)}

    return router


def _card(card: FidelityCard | None) -> dict[str, Any] | None:
    return None if card is None else card.model_dump(mode="json")
