import math

import numpy as np
import pytest

from agents.ppo.actions import HEADS
from tests.ppo_tasks import recipe

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")

from agents.ppo.network import (  # noqa: E402
    Heads,
    Networks,
    entropy,
    joint_log_probability,
    linear_layers,
)
from agents.ppo.policy import Layers, Policy  # noqa: E402

WIDTH, INPUTS = 17, 5


def networks(**changes):
    return Networks(INPUTS, WIDTH, recipe(**changes), torch.Generator().manual_seed(0))


def all_open(rows=4):
    return torch.ones((rows, HEADS, WIDTH), dtype=torch.bool)


def by_line(nets, masks):
    """(lines, rows), level 1 of every head in force."""
    inputs = torch.rand((len(masks), INPUTS), generator=torch.Generator().manual_seed(1))
    in_force = torch.ones((len(masks), HEADS), dtype=torch.int64)
    heads = Heads(masks)
    with torch.inference_mode():
        logits = nets.logits(inputs, heads.offsets(in_force, nets.keep), heads)
        return heads.log_probabilities(logits)


def log_probabilities(nets, masks=None):
    """(rows, HEADS, levels), for masks under which all heads have as many levels."""
    masks = all_open() if masks is None else masks
    return by_line(nets, masks).T.reshape(len(masks), HEADS, -1)


def test_every_head_is_a_distribution_over_the_levels_that_its_mask_allows():
    masks = all_open()
    masks[:2, :, 3:] = False

    chances = log_probabilities(networks(), masks).exp()

    assert torch.allclose(chances.sum(dim=2), torch.ones(4, HEADS))
    assert chances[:2, :, 3:].max() == 0.0
    assert chances[2:, :, 3:].min() > 0.0


def test_levels_that_no_row_may_choose_have_no_line():
    masks = torch.zeros((4, HEADS, WIDTH), dtype=torch.bool)
    masks[:, :, 7] = True
    masks[1, 2, 9] = True

    heads = Heads(masks)

    assert heads.sizes == [1, 1, 2, 1, 1, 1]
    assert heads.outputs.tolist() == [7, 24, 41, 43, 58, 75, 92]
    assert heads.levels(torch.tensor([[0, 1, 3, 4, 5, 6]])).tolist() == [[7, 7, 9, 7, 7, 7]]


def test_a_level_that_the_mask_forbids_is_never_drawn():
    masks = all_open()
    masks[0] = False
    masks[0, :, 7] = True
    heads = Heads(masks)
    offsets = heads.offsets(torch.full((4, HEADS), -1), 0.0)

    lines = heads.drawn(offsets, heads.noise(1, 4, torch.Generator().manual_seed(0))[0])

    assert heads.levels(lines)[0].tolist() == [7] * HEADS


def test_a_level_in_force_that_no_row_may_choose_changes_nothing():
    masks = torch.zeros((2, HEADS, WIDTH), dtype=torch.bool)
    masks[:, :, :2] = True

    offsets = Heads(masks).offsets(torch.full((2, HEADS), 5), 2.0)

    assert offsets.abs().max() == 0.0


def test_levels_are_drawn_as_often_as_they_are_likely():
    heads = Heads(torch.ones((20_000, 2, 3), dtype=torch.bool))
    logs = torch.log(torch.tensor([0.7, 0.2, 0.1, 0.1, 0.1, 0.8])[:, None]).expand(6, 20_000)

    noise = heads.noise(1, 20_000, torch.Generator().manual_seed(0))[0]

    drawn = heads.levels(heads.drawn(logs, noise)).numpy()

    shares = [np.bincount(column) / 20_000 for column in drawn.T]
    assert np.allclose(shares, [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], atol=0.015)


def test_the_level_in_force_is_likelier_by_exactly_what_keep_says():
    nets = networks(keep_logit=0.0)
    free = log_probabilities(nets)

    nets.keep = 2.0
    kept = log_probabilities(nets)

    odds = (kept[..., 1] - kept[..., 0]) - (free[..., 1] - free[..., 0])
    assert torch.allclose(odds, torch.full_like(odds, 2.0), atol=1e-5)


def test_the_first_policy_prefers_the_level_it_is_told_to():
    nets = networks(keep_logit=0.0)
    shares = torch.zeros((HEADS, WIDTH))
    shares[:, 4] = 1.0

    nets.prefer(shares, 3.0)

    ratio = log_probabilities(nets)[..., 4].exp() / log_probabilities(nets)[..., 5].exp()
    assert torch.allclose(ratio, torch.full_like(ratio, math.e**3), rtol=0.1)


def test_the_chance_of_an_action_is_the_product_over_its_heads():
    logs = torch.log(torch.tensor([[0.5], [0.5], [0.25], [0.75]]))

    joint = joint_log_probability(logs, torch.tensor([[0, 3]]))

    assert joint.exp().item() == pytest.approx(0.375)


def test_a_head_with_one_level_adds_no_entropy():
    masks = torch.zeros((4, HEADS, WIDTH), dtype=torch.bool)
    masks[:, :, 0] = True
    masks[:, 0, :2] = True
    nets = networks(keep_logit=0.0)

    found = entropy(by_line(nets, masks))

    assert torch.allclose(found, torch.full_like(found, math.log(2)), atol=1e-3)


def test_policy_and_value_share_no_weight():
    nets = networks()

    nets.values(torch.ones((2, INPUTS))).sum().backward()

    assert all(layer.weight.grad is None for layer in linear_layers(nets.policy))


def test_numpy_computes_the_same_logits_within_a_hundred_thousandth():
    nets = networks(hidden_units=64, policy_output_gain=1.0)
    arrays = [
        array.detach().numpy()
        for layer in linear_layers(nets.policy)
        for array in (layer.weight.T.contiguous(), layer.bias)
    ]
    inputs = np.random.default_rng(0).random((256, INPUTS), np.float32)

    ours = Policy(Layers(*arrays), recipe().kv).logits(inputs)

    theirs = nets.policy(torch.from_numpy(inputs)).detach().numpy().reshape(ours.shape)
    assert np.abs(ours - theirs).max() < 1e-5
