"""Folders of measurements that the simulator made up: what `calibrate run` would have written."""

import numpy as np

from server.calibration.journal import open_journal
from simulator.calibration.closed_loop import ClosedLoad, ClosedLoop, Constants
from simulator.calibration.plans import grid_of, visits_of
from simulator.calibration.records import Answered, Began, Ended, Plan, ServerLimits

LIMITS = ServerLimits(max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=4096)
TRUTH = Constants(host_s=1.4e-3, api_s=0.02, linear=1.3, head=1.3, attention=0.8)


def small_plan(profile="a100-llama3-8b", tier="FP16", *, most_clients=8, seed=0):
    """A quick plan for a server of this profile."""
    grid = grid_of("quick", most_clients=most_clients)
    return Plan(
        format=1,
        name="quick",
        seed=seed,
        profile=profile,
        server="http://127.0.0.1:8000",
        model="made-up",
        api="completions",
        tier=tier,
        limits=LIMITS,
        visits=visits_of(grid, LIMITS, seed=seed),
    )


def answers_of(visit, outcome, *, number, attempt=1, noise=None):
    """The lines of a visit with this outcome; noise is a factor per request on its times."""
    lines = []
    for index, (prompt, output) in enumerate(
        zip(visit.prompt_tokens, visit.output_tokens, strict=True)
    ):
        factor = 1.0 if noise is None else float(noise[index])
        first_s = factor * outcome.ttft_s[index]
        later_s = factor * outcome.tpot_s[index] * np.arange(output)
        lines.append(
            Answered(
                visit=number,
                attempt=attempt,
                sent_s=0.001 * index,
                output_s=tuple((first_s + later_s).tolist()),
                prompt_tokens=prompt,
                output_tokens=output,
            )
        )
    return lines


def ended(number, requests, *, attempt=1, before_s=0.01, after_s=0.01, starved=0.0):
    """The last line of a visit."""
    return Ended(
        visit=number,
        attempt=attempt,
        requests=requests,
        before_tpot_s=before_s,
        after_tpot_s=after_s,
        client_lag_s=0.001,
        starved_fraction=starved,
    )


def make_up(folder, plan, truth=TRUTH, *, noise=0.0, seed=0, visits=None):
    """Fill a folder with what a server with these constants would have answered.

    Noise is the spread of a visit's speed and of its requests'.
    """
    loop = ClosedLoop(plan.profile, plan.tier, plan.limits)
    rng = np.random.default_rng(seed)
    with open_journal(folder, plan) as journal:
        for number, visit in list(enumerate(plan.visits))[:visits]:
            load = ClosedLoad(
                visit.clients,
                np.array(visit.prompt_tokens, np.int64),
                np.array(visit.output_tokens, np.int64),
            )
            outcome = loop.play(load, truth)
            spread = rng.normal(size=len(visit.prompt_tokens)) + rng.normal()
            journal.add(Began(visit=number, attempt=1, at="2026-11-28T12:00:00+00:00"))
            for line in answers_of(visit, outcome, number=number, noise=np.exp(noise * spread)):
                journal.add(line)
            journal.add(ended(number, len(visit.prompt_tokens)))
