"""Trains with the trainers of examples/ and writes docs/learning_peers.md and its curves.

    uv run --extra sb3 python -m scripts.measure_peers [--steps 300000] [--seeds 2]

A training whose curve is complete in runs/peers/ is not repeated: delete the folder to train anew.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.tasks import shipped_catalogue
from scripts.learning_curves import Anchors, Curve, picture, read_curve, write_curves
from scripts.ship_weights import headroom_anchors

ROOT: Final = Path(__file__).parent.parent
REPORT: Final = ROOT / "docs" / "learning_peers.md"
CURVES: Final = ROOT / "docs" / "learning"
PICTURE: Final = "peers.svg"
RUNS: Final = Path("runs/peers")  # relative to the project, which is where the examples run
TASK_ID: Final = "bursty_workload"
COMMAND: Final = "uv run --extra sb3 python -m scripts.measure_peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A trainer of examples/ with some of its flags.

    Attributes:
        name: Of its files.
        title: For people.
        arguments: The script and its flags.
        suffix: Of the policies that it writes.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    suffix: str


PEERS: Final = (
    Peer("sb3_ppo", "SB3 PPO", ("examples/sb3_ppo.py",), ".zip"),
    Peer("sb3_maskable_ppo", "SB3 MaskablePPO", ("examples/sb3_ppo.py", "--maskable"), ".zip"),
    Peer("cleanrl_ppo", "CleanRL-style PPO", ("examples/cleanrl_ppo.py",), ".pt"),
    Peer(
        "sb3_ppo_from_scratch",
        "SB3 PPO from scratch",
        ("examples/sb3_ppo.py", "--from-scratch"),
        ".zip",
    ),
)


@dataclass(frozen=True, slots=True)
class Trained:
    """The trainings of one peer.

    Attributes:
        peer: The trainer.
        curves: One per seed.
        rates: Windows per second of wall time, one per seed, validations included.
        command: Of the first seed.
    """

    peer: Peer
    curves: tuple[Curve, ...]
    rates: tuple[float, ...]
    command: str

    @property
    def kept(self) -> list[float]:
        """The best difference to the constant of every seed: its policy is the one that is kept."""
        return [max(curve.differences[TASK_ID]) for curve in self.curves]

    @property
    def last(self) -> list[float]:
        """The difference at the end of every seed's training."""
        return [curve.differences[TASK_ID][-1] for curve in self.curves]


def command_of(peer: Peer, *, steps: int, seed: int) -> list[str]:
    """The arguments of Python for one training."""
    environment = shipped_catalogue().get(TASK_ID).gymnasium_id
    out = RUNS / f"{peer.name}-seed{seed}{peer.suffix}"
    flags = ("--env", environment, "--steps", str(steps), "--seed", str(seed), "--out", str(out))
    return [*peer.arguments, *flags]


def train(peer: Peer, *, steps: int, seeds: int) -> Trained:
    """The peer's trainings from seed 0 on; those that are complete are not repeated.

    Raises:
        InvalidInputError: If one fails.
    """
    curves, rates = [], []
    for seed in range(seeds):
        command = command_of(peer, steps=steps, seed=seed)
        file = ROOT / Path(command[-1]).with_suffix(".csv")
        if not (file.exists() and read_curve(file, seed).steps[-1] >= steps):
            print(shlex.join(["python", *command]), flush=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
            if status:
                raise InvalidInputError(f"{shlex.join(command)} ended with status {status}")
        curves.append(read_curve(file, seed))
        rates.append(curves[-1].steps[-1] / wall_s(file))
    first = shlex.join(["python", *command_of(peer, steps=steps, seed=0)])
    return Trained(peer, tuple(curves), tuple(rates), first)


def wall_s(path: Path) -> float:
    """Seconds that the training of a curve took."""
    header, *_, last = path.read_text(encoding="utf-8").splitlines()
    return float(last.split(",")[header.split(",").index("wall_s")])


def side_by_side(trained: Sequence[Trained]) -> list[Curve]:
    """A curve per seed with a panel per peer, as learning_curves.picture draws tasks."""
    return [
        Curve(
            seed=together[0].seed,
            steps=together[0].steps,
            differences={
                found.peer.title: curve.differences[TASK_ID]
                for found, curve in zip(trained, together, strict=True)
            },
        )
        for together in zip(*(found.curves for found in trained), strict=True)
    ]


def page(trained: Sequence[Trained], anchors: Anchors) -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            "# Other people's trainers",
            "",
            f"Written by `{COMMAND}`; version {shipped_catalogue().environment_version} of the "
            f"environment. PPO of stable-baselines3 (`examples/sb3_ppo.py`) and in one file in the "
            f"manner of CleanRL (`examples/cleanrl_ppo.py`), on the registered id of "
            f"`{TASK_ID}`, its MultiDiscrete actions and 64 validation seeds.",
            "",
            *_table(trained),
            "",
            "Raw score less that of the best constant action on the same validation seeds, seed "
            "by seed of the trainings. `Kept` is the policy that validated best, which is the one "
            "that is saved, so it leans upwards; `last` is the policy at the end. Two seeds show "
            "that it works, not how it spreads. Windows per second include the validations and "
            "whatever else the machine was doing; one thread, 64 environments.",
            "",
            f"![Learning curves](learning/{PICTURE})",
            "",
            f"For comparison, on test seeds: tuned reactive controller {anchors.reactive:+.4f}, "
            f"clairvoyant planner {anchors.clairvoyant:+.4f} ([headroom.md](headroom.md)). The "
            f"project's own trainer is in [learning.md](learning.md). The numbers of the curves "
            f"lie in `learning/{{{','.join(found.peer.name for found in trained)}}}.csv`.",
            "",
            *NOTES,
            "",
            "## Commands",
            "",
            "```",
            COMMAND,
            *(found.command for found in trained),
            f"python evaluate.py --agent sb3:{RUNS}/{PEERS[0].name}-seed0.zip --task {TASK_ID}",
            "```",
            "",
        ]
    )


NOTES: Final = (
    "## What to know before you copy them",
    "",
    "- **Where they start.** A change of the tier stops the service for three seconds. Random "
    "actions toss it every window, so nothing is ever served, and a trainer from scratch learns to "
    "save memory instead: the policy of its seed 0 holds the smallest KV budget in 97 % of the "
    "windows. Both examples therefore lean the first policy towards the best constant action by "
    "adding to the biases of the last layer; `--from-scratch` leaves that out.",
    "- **Absolute KV.** They choose the KV budget as a level from 0.1 to 1. The project's own "
    "trainer chooses it relative to what the requests at hand need, by a formula written by hand; "
    "these have to learn that from the features, and do in part: SB3 PPO of seed 0 holds 0.3 in "
    "79 % of the windows and 0.6 in the rest.",
    "- **How they were tuned.** Nine settings of discount, entropy, lean, number of environments "
    "and learning rate were tried with the CleanRL-style file and one training seed, on these "
    "validation seeds; stable-baselines3 took over the best. Nothing else was searched.",
    "- **Longer.** One training of the CleanRL-style file with `--steps 1000000 --seed 0` kept a "
    "policy at +0.0756, after 112 s.",
    "- **Masks.** Fixed knobs do nothing whatever is chosen, and masks only spare the entropy "
    "bonus for them. The CleanRL-style file always applies them.",
    "- **Vector environment.** `ServingVecEnv` of the example hands all environments to "
    "`gymnasium.make_vec`. Stable-baselines3's own "
    "`make_vec_env(id, n_envs=64)` works, too; it steps one after the other: 12,000 "
    "windows/s instead of 31,000 to 55,000 without any learning, 4,000 instead of 6,000 with it, "
    "per second of one core's time, measured in one run beside other work. PPO on CartPole learnt "
    "from 14,000 steps/s there: most of the time is the trainer's.",
)


def _table(trained: Sequence[Trained]) -> Iterator[str]:
    yield "| Trainer | Windows | Kept | Mean | Last | Mean | Windows/s |"
    yield "|---|---:|---|---:|---|---:|---|"
    for found in trained:
        rates = " ".join(f"{rate:,.0f}" for rate in found.rates)
        yield (
            f"| {found.peer.title} | {found.curves[0].steps[-1]:,.0f} | {_signed(found.kept)} | "
            f"{fmean(found.kept):+.4f} | {_signed(found.last)} | {fmean(found.last):+.4f} | "
            f"{rates} |"
        )


def _signed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.4f}" for value in values)


def run(*, steps: int, seeds: int) -> None:
    """Train, draw, write.

    Raises:
        InvalidInputError: If a training fails, or the stored headroom is of another version.
    """
    anchors = headroom_anchors()[TASK_ID]
    trained = [train(peer, steps=steps, seeds=seeds) for peer in PEERS]
    for found in trained:
        write_curves(CURVES / f"{found.peer.name}.csv", found.curves)
    panels = {found.peer.title: anchors for found in trained}
    title = f"{TASK_ID}: other people's trainers on validation seeds"
    write_text(CURVES / PICTURE, picture(title, side_by_side(trained), panels))
    write_text(REPORT, page(trained, anchors))


def main(argv: Sequence[str]) -> int:
    """0 when all is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300_000, help="windows to learn from")
    parser.add_argument("--seeds", type=int, default=2, help="trainings per trainer, from 0 on")
    arguments = parser.parse_args(argv)
    run(steps=arguments.steps, seeds=arguments.seeds)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (LLMServeError, FileNotFoundError) as problem:
        sys.exit(f"measure_peers: {problem}")
