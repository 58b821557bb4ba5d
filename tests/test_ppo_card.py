import pytest

from agents.ppo.card import card_path, read_card
from llmserve_env.errors import InvalidInputError


def test_the_card_lies_beside_the_weights(tmp_path):
    assert card_path(tmp_path / "p.npz") == tmp_path / "p.json"


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"p\.json: no such file"):
        read_card(tmp_path / "p.npz")


def test_a_file_that_is_no_card_is_refused(tmp_path):
    (tmp_path / "p.json").write_text('{"seed": 1}')

    with pytest.raises(InvalidInputError, match="environment_version"):
        read_card(tmp_path / "p.npz")
