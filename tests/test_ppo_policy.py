import numpy as np
import pytest

from agents.ppo.actions import HEADS, width_of
from agents.ppo.policy import load_policy, save_policy
from llmserve_env.encoding import FEATURES
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from tests.ppo_tasks import MENU, policy

VERSION = shipped_catalogue().environment_version


def test_a_policy_comes_back_from_its_file_as_it_was(tmp_path):
    given = policy()

    save_policy(tmp_path / "deep" / "p.npz", given, environment_version=VERSION)

    found = load_policy(tmp_path / "deep" / "p.npz")
    assert found.menu == MENU
    assert all(map(np.array_equal, found.layers, given.layers))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["p.npz"]


def test_a_forbidden_level_is_never_chosen():
    masks = np.zeros((3, HEADS, width_of(MENU)), np.bool_)
    masks[:, :, 2] = True

    levels = policy().levels(np.ones((3, len(FEATURES) + HEADS), np.float32), masks)

    assert levels.tolist() == [[2] * HEADS] * 3


def test_weights_of_another_environment_version_are_refused(tmp_path):
    save_policy(tmp_path / "p.npz", policy(), environment_version="0.0.1")

    with pytest.raises(
        InvalidInputError, match=f"environment_version '0.0.1', this is '{VERSION}'"
    ):
        load_policy(tmp_path / "p.npz")


def test_weights_for_other_features_are_refused(tmp_path):
    path = tmp_path / "p.npz"
    save_policy(path, policy(), environment_version=VERSION)
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **content | {"encoding_hash": "0123456789abcdef"})

    with pytest.raises(InvalidInputError, match="encoding_hash '0123456789abcdef'"):
        load_policy(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.npz: no such file"):
        load_policy(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_file_that_is_no_policy_is_refused(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)

    with pytest.raises(InvalidInputError, match="no weights of a policy"):
        load_policy(path)


def test_an_archive_without_the_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "p.npz", weight_0=np.zeros(3))

    with pytest.raises(InvalidInputError, match="no weights of a policy"):
        load_policy(tmp_path / "p.npz")
