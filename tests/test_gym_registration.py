"""The ids are known to Gymnasium, whichever package is imported first."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import pytest

from llmserve_env.gym_registration import register_tasks

LISTING = "print(sorted(name for name in gymnasium.registry if name.startswith('llmserve/')))"
IDS = [
    "llmserve/Adversarial-v1",
    "llmserve/AdversarialBailian-v1",
    "llmserve/AdversarialPublicTraces-v1",
    "llmserve/Bursty-v1",
    "llmserve/BurstyAzureCode-v1",
    "llmserve/BurstyReasoning-v1",
    "llmserve/Static-v1",
    "llmserve/StaticAzureConv-v1",
    "llmserve/StaticBurstgptDay-v1",
    "llmserve/Trace-v1",
]


def output_of(program):
    command = [sys.executable, "-W", "error", "-c", program]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "imports",
    [
        "import gymnasium, llmserve_env",
        "import llmserve_env, gymnasium",
        "import llmserve_env, importlib.util as u; u.find_spec('gymnasium'); import gymnasium",
    ],
)
def test_importing_both_packages_registers_the_tasks(imports):
    assert output_of(f"{imports}; {LISTING}") == str(IDS)


def test_gymnasium_is_loaded_as_it_is():
    program = "import llmserve_env, gymnasium, sys; print(gymnasium.__spec__.origin)"

    assert output_of(program) == find_spec("gymnasium").origin


def test_registering_again_changes_nothing():
    known = dict(gymnasium.registry)

    register_tasks()

    assert gymnasium.registry == known


def test_a_variant_is_made_alone_and_many_at_once():
    features, _ = gymnasium.make("llmserve/BurstyAzureCode-v1").reset(seed=3)
    many, _ = gymnasium.make_vec("llmserve/BurstyAzureCode-v1", num_envs=2).reset(seed=[3, 4])

    assert many[0].tolist() == features.tolist()
