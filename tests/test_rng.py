import subprocess
import sys
from pathlib import Path

from simulator.rng import stream

ROOT = Path(__file__).parents[1]


def test_same_seed_and_name_give_the_same_numbers():
    assert stream(7, "arrivals/chat").random() == stream(7, "arrivals/chat").random()


def test_another_name_gives_other_numbers():
    assert stream(7, "arrivals/chat").random() != stream(7, "arrivals/code").random()


def test_another_seed_gives_other_numbers():
    assert stream(7, "load").random() != stream(8, "load").random()


def test_a_stream_does_not_depend_on_the_hash_seed_of_the_process():
    code = "from simulator.rng import stream; print(stream(7, 'load').random())"

    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert outputs[0] == outputs[1] == f"{stream(7, 'load').random()}\n"
