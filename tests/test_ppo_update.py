from types import SimpleNamespace

import numpy as np
import pytest

from tests.builders import task
from tests.ppo_tasks import one_knob, recipe

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # networks this small gain nothing by more

from agents.ppo.actions import HEADS, ActionReader, width_of  # noqa: E402
from agents.ppo.fleet import Fleet  # noqa: E402
from agents.ppo.network import Networks, joint_log_probability, linear_layers  # noqa: E402
from agents.ppo.rollout import collect  # noqa: E402
from agents.ppo.update import batch_of, improve, losses  # noqa: E402
from llmserve_env.encoding import FEATURE_NAMES  # noqa: E402


@pytest.fixture
def played():
    """A rollout of six windows over episodes of four, and what played it."""
    numbers = recipe(keep_logit=1.0)
    fleet = Fleet([task(windows=4), one_knob(windows=4)], traces=2, replicas=2, seed=0)
    reader = ActionReader(fleet.tasks, numbers.kv)
    generator = torch.Generator().manual_seed(0)
    inputs = fleet.features.shape[1] + HEADS
    networks = Networks(inputs, width_of(numbers.kv), numbers, generator)
    rollout = collect(fleet, reader, networks, windows=6, generator=generator)
    return SimpleNamespace(
        recipe=numbers,
        fleet=fleet,
        reader=reader,
        networks=networks,
        rollout=rollout,
        batch=batch_of(rollout, numbers),
    )


def log_probabilities(networks, batch):
    return batch.heads.log_probabilities(
        networks.logits(batch.inputs, batch.offsets.T, batch.heads)
    )


def test_the_ratio_is_one_before_the_first_update(played):
    batch = played.batch

    logs = log_probabilities(played.networks, batch)

    ratio = (joint_log_probability(logs, batch.lines) - batch.log_probabilities).exp()
    assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-5)


def test_what_was_drawn_is_what_the_masks_allow(played):
    rollout = played.rollout

    levels = rollout.heads.levels(rollout.lines).numpy()

    masks = np.broadcast_to(played.reader.masks, (6, *played.reader.masks.shape))
    assert np.take_along_axis(masks, levels[..., None], axis=3).all()


def test_the_end_of_an_episode_is_valued_by_what_was_seen_there(played):
    rollout = played.rollout

    assert rollout.ended[:, 0].tolist() == [False, False, False, True, False, False]
    assert np.array_equal(rollout.next_values[2], rollout.values[3])
    # After the fourth window a new episode began: its value is not what the last window led to.
    assert not np.isclose(rollout.next_values[3], rollout.values[4]).any()
    assert np.isfinite(rollout.next_values).all()


def test_the_last_window_of_a_rollout_is_valued_by_what_the_next_will_act_on(played):
    inputs = np.hstack([played.fleet.features, played.reader.active])

    with torch.inference_mode():
        values = played.networks.values(torch.from_numpy(inputs)).double().numpy()

    assert np.allclose(played.rollout.next_values[5], values, atol=1e-6)


def test_actions_that_did_better_than_expected_become_likelier(played):
    batch, networks, numbers = played.batch, played.networks, played.recipe
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-3)

    improve(
        networks,
        optimizer,
        batch,
        numbers,
        entropy_weight=0.0,
        generator=torch.Generator().manual_seed(0),
    )

    logs = log_probabilities(networks, batch)
    change = joint_log_probability(logs, batch.lines) - batch.log_probabilities
    assert torch.dot(change, batch.gains) > 0.0


def test_a_ratio_beyond_the_clip_range_pulls_no_further(played):
    batch, networks = played.batch, played.networks
    far = batch.rows(torch.arange(len(batch.gains)))
    far.log_probabilities.sub_(torch.sign(far.gains - far.gains.mean()) * 5.0)

    loss, (_, _, _, _, clipped) = losses(networks, far, recipe(value_weight=0.0), 0.0)
    loss.backward()

    assert clipped == 1.0
    gradients = [p.grad for p in networks.policy.parameters() if p.grad is not None]
    assert max(gradient.abs().max() for gradient in gradients) == 0.0


def test_statistics_of_networks_that_do_not_move_show_no_divergence(played):
    optimizer = torch.optim.SGD(played.networks.parameters(), lr=0.0)

    statistics = improve(
        played.networks,
        optimizer,
        played.batch,
        played.recipe,
        entropy_weight=0.01,
        generator=torch.Generator().manual_seed(0),
    )

    assert statistics.divergence == pytest.approx(0.0, abs=1e-6)
    assert statistics.clipped_fraction == 0.0
    assert statistics.entropy > 0.0


def test_nothing_is_learnt_from_what_a_policy_is_blind_to(played):
    numbers = recipe(blind_to=[FEATURE_NAMES[0]])
    generator = torch.Generator().manual_seed(0)
    inputs = played.fleet.features.shape[1] + HEADS
    networks = Networks(inputs, width_of(numbers.kv), numbers, generator)
    stacks = [linear_layers(stack)[0].weight for stack in (networks.policy, networks.value)]
    before = [weight.detach().clone() for weight in stacks]

    optimizer = torch.optim.Adam(networks.parameters())
    improve(networks, optimizer, played.batch, numbers, entropy_weight=0.01, generator=generator)

    for weight, start in zip(stacks, before, strict=True):
        assert not weight[:, 0].any()
        assert not torch.equal(weight[:, 1:], start[:, 1:])
