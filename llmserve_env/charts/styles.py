"""How each agent's line looks: told apart by colour, by colour-blind readers and without colour.

Okabe and Ito's palette, and dashes. The elements also carry a class, by which charts.css gives them
colours for a dark page; the colours here are those of a picture that stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

INK, FAINT_INK, PAPER, BARS, LEVEL = "#222222", "#5F5F5F", "#FFFFFF", "#CFCFD4", "#B3261E"
# What an agent without a look of its own gets, in order.
SPARE_DASHES: Final = ("9 2 2 2", "4 2 1 2", "12 3", "3 3", "1 2")


@dataclass(frozen=True, slots=True)
class Look:
    """How an agent is shown.

    Attributes:
        label: Its name for people.
        colour: Of its line on white.
        css: Class of its elements.
        dash: SVG's stroke-dasharray; empty for a solid line.
        width_px: Of its line.
    """

    label: str
    colour: str
    css: str
    dash: str = ""
    width_px: float = 1.6

    @property
    def stroke(self) -> dict[str, str]:
        """Attributes of a line."""
        dashes = {"stroke-dasharray": self.dash} if self.dash else {}
        width = {"stroke-width": f"{self.width_px:g}"}
        return {"stroke": self.colour, "class": f"line {self.css}", **width, **dashes}


LOOKS: Final[Mapping[str, Look]] = {
    "episode": Look("This episode", "#0072B2", "c-blue", width_px=2.0),
    "you": Look("You", "#B0186B", "c-magenta", width_px=2.8),
    "ppo": Look("PPO specialist", "#0072B2", "c-blue", width_px=2.4),
    "ppo_generalist": Look("PPO generalist", "#56B4E9", "c-sky", "10 2 2 2", 2.0),
    "best_constant": Look("Best constant", "#000000", "c-ink", width_px=1.4),
    "heuristic": Look("Heuristic", "#D55E00", "c-vermillion", "8 3", 1.8),
    "vllm_default": Look("vLLM defaults", "#7A7A7A", "c-grey", "4 2", 1.6),
    "random": Look("Random", "#CC79A7", "c-purple", "1 3", 1.8),
    "mpc": Look("Planner (forecasts)", "#E69F00", "c-orange", "6 2 1 2", 1.8),
    "clairvoyant": Look("Clairvoyant planner", "#009E73", "c-green", "2 2", 2.0),
    "reactive": Look("Tuned reactive", "#B8860B", "c-gold", "7 3", 1.6),
    "kv_rule": Look("KV rule", "#882255", "c-wine", "5 2 1 2", 1.6),
    "schedule": Look("Setting by load", "#B0186B", "c-magenta", "10 3", 1.8),
    "front": Look("Front, earlier traffic", "#0072B2", "c-blue", "14 2", 2.0),
    "setting": Look("Setting, earlier traffic", "#A5A5AD", "c-grey", "1 3", 1.2),
    "aimd": Look("AIMD", "#44AA99", "c-teal", "3 2", 1.4),
    "dynamic_sd": Look("Dynamic speculation", "#332288", "c-indigo", "9 3 1 3", 1.4),
}


def look_of(agent: str) -> Look:
    """The look of an agent; one that is not of ours is shown by its name, in ink and dashes."""
    known = LOOKS.get(agent)
    if known is not None:
        return known
    dash = SPARE_DASHES[sum(agent.encode()) % len(SPARE_DASHES)]
    return Look(agent, "#882255", "c-wine", dash)


def in_order(agents: Sequence[str]) -> list[str]:
    """The agents without repetition, in the order in which legends list them."""
    known = list(LOOKS)
    return sorted(
        dict.fromkeys(agents),
        key=lambda agent: (known.index(agent) if agent in LOOKS else len(known), agent),
    )
