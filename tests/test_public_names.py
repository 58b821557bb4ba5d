import subprocess
import sys

import pytest

import llmserve_env

HEAVY = ("gradio", "torch", "pandas", "openenv", "numba", "numpy", "fastapi", "gymnasium")


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, llmserve_env; llmserve_env.ServeAction; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_listed_and_an_unknown_one_is_refused():
    assert "LLMServeEnv" in dir(llmserve_env)
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = llmserve_env.Nonsense
