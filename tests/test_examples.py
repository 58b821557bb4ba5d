import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from scripts.learning_curves import read_curve

ROOT = Path(__file__).resolve().parents[1]
ID = "llmserve/Bursty-v1"
UPDATE = 3_200  # windows of the shortest training: one update
QUICK = ["--env", ID, "--steps", "300", "--seed", "1"]


def examples(name):
    pytest.importorskip("torch")
    if name == "sb3_ppo":
        pytest.importorskip("stable_baselines3")
        pytest.importorskip("sb3_contrib")
        from examples import sb3_ppo

        return sb3_ppo
    from examples import cleanrl_ppo

    return cleanrl_ppo


@pytest.mark.needs_sb3
@pytest.mark.parametrize("flags", [[], ["--maskable", "--from-scratch"]])
def test_the_example_of_stable_baselines3_saves_a_policy_and_its_curve(flags, tmp_path, capsys):
    examples("sb3_ppo").main([*QUICK, "--out", str(tmp_path / "p.zip"), *flags])

    assert read_curve(tmp_path / "p.csv", 1).steps == (0.0, UPDATE)
    assert (tmp_path / "p.zip").exists()
    assert "3,200 windows, to best constant" in capsys.readouterr().out


@pytest.mark.needs_torch
@pytest.mark.parametrize("flags", [[], ["--from-scratch"]])
def test_the_example_in_one_file_saves_a_policy_and_its_curve(flags, tmp_path, capsys):
    examples("cleanrl_ppo").main([*QUICK, "--out", str(tmp_path / "p.pt"), *flags])

    assert read_curve(tmp_path / "p.csv", 1).steps == (0.0, UPDATE)
    assert (tmp_path / "p.pt").exists()
    assert "3,200 windows, to best constant" in capsys.readouterr().out


@pytest.mark.needs_sb3
def test_both_examples_start_at_the_level_next_to_the_best_constant(tmp_path):
    examples("sb3_ppo").main([*QUICK, "--out", str(tmp_path / "a.zip")])
    examples("cleanrl_ppo").main([*QUICK, "--out", str(tmp_path / "b.pt")])

    first = [
        read_curve(tmp_path / name, 1).differences["bursty_workload"][0]
        for name in ("a.csv", "b.csv")
    ]
    assert first[0] == first[1]
    assert abs(first[0]) < 0.01


@pytest.mark.needs_sb3
def test_the_wrapped_environments_step_as_gymnasiums_do():
    wrapped = examples("sb3_ppo").ServingVecEnv(ID, 3)
    plain = gymnasium.make_vec(ID, num_envs=3, autoreset_mode="SameStep")
    actions = np.tile([8, 5, 0, 1, 0, 0], (3, 1))
    wrapped.seed(4)

    seen = [wrapped.reset(), *(wrapped.step(actions) for _ in range(200))]

    features, _ = plain.reset(seed=4)
    steps = [plain.step(actions) for _ in range(200)]
    *_, (last, rewards, ends, rows) = seen
    assert np.array_equal(seen[0], features)
    assert np.array_equal(last, steps[-1][0])
    assert np.array_equal(rewards, steps[-1][1].astype(np.float32))
    assert ends.all()
    assert np.array_equal(rows[2]["terminal_observation"], steps[-1][4]["final_obs"][2])
    assert rows[2]["TimeLimit.truncated"]
    assert not seen[1][2].any()


@pytest.mark.needs_sb3
def test_stable_baselines3_finds_nothing_wrong_with_a_registered_id():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env

    check_env(gymnasium.make(ID, render_mode=None))


@pytest.mark.needs_sb3
def test_the_environments_that_stable_baselines3_makes_itself_give_the_same_numbers():
    wrapped = examples("sb3_ppo").ServingVecEnv(ID, 2)
    from stable_baselines3.common.env_util import make_vec_env

    own = make_vec_env(ID, n_envs=2)
    actions = np.tile([8, 5, 0, 1, 0, 0], (2, 1))
    wrapped.seed(4)
    own.seed(4)

    firsts = [envs.reset() for envs in (wrapped, own)]
    seconds = [envs.step(actions) for envs in (wrapped, own)]

    assert np.array_equal(*firsts)
    assert np.array_equal(seconds[0][0], seconds[1][0])
    assert np.array_equal(seconds[0][1], seconds[1][1])


@pytest.mark.needs_torch
def test_the_example_in_one_file_weighs_what_was_drawn_by_its_own_probabilities():
    module = examples("cleanrl_ppo")
    settings = module.Settings(envs=4, windows=3)
    player = module.Player(ID, settings, seed=2)
    agent = player.agent()

    batch = player.play(agent)

    shares = agent.log_shares(batch.features.flatten(0, 1))
    again = module.joint(shares, batch.actions.flatten(0, 1))
    assert again.tolist() == pytest.approx(batch.log_probabilities.flatten().tolist(), abs=1e-5)
    assert [part.exp().sum(1).mean().item() for part in shares] == pytest.approx([1.0] * 6)


@pytest.mark.needs_torch
def test_the_example_in_one_file_never_draws_what_the_mask_forbids():
    module = examples("cleanrl_ppo")
    player = module.Player("llmserve/Static-v1", module.Settings(envs=16, windows=8), seed=2)
    mask = player.envs.action_masks()[0]

    batch = player.play(player.agent())

    first_of_knob = np.cumsum([0, *player.envs.single_action_space.nvec[:-1]])
    assert mask[batch.actions.numpy() + first_of_knob].all()
    assert not mask.all()


@pytest.mark.needs_torch
def test_advantages_in_one_file_do_not_reach_over_the_end_of_an_episode():
    torch = pytest.importorskip("torch")
    module = examples("cleanrl_ppo")
    settings = module.Settings(envs=1, gamma=0.5, gae_lambda=0.5)
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    values = torch.tensor([[0.0], [2.0], [4.0], [8.0]])

    found = module.advantages_of(rewards, values, torch.tensor([0.0, 1.0, 0.0]), settings)

    # From the last: 4 + 0.5 x 8 - 4; 2 - 2, where time was up; 1 + 0.5 x 2 - 0 + 0.25 x 0.
    assert found[:, 0].tolist() == [2.0, 0.0, 4.0]


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", ["sb3_ppo", "cleanrl_ppo"])
def test_an_unregistered_id_is_refused_with_those_there_are(name):
    examples(name)
    command = [sys.executable, f"examples/{name}.py", "--env", "CartPole-v1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "llmserve/Bursty-v1" in done.stderr


@pytest.mark.slow
@pytest.mark.needs_trl
def test_the_example_of_trl_trains_a_model_that_it_makes_itself(tmp_path):
    pytest.importorskip("trl")
    pytest.importorskip("torch")
    command = [sys.executable, "examples/trl_grpo.py", "--steps", "1", "--warm-up-steps", "2"]

    subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)

    first, *_ = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert -1.0 <= json.loads(first)["reward"] <= 1.0
    assert (tmp_path / "model.safetensors").exists()
