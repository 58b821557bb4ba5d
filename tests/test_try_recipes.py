"""Attempts are recipes that can be trained, and their page is made of what was found."""

import dataclasses

import pytest

pytestmark = pytest.mark.needs_torch
pytest.importorskip("torch")

from scripts.try_recipes import ATTEMPTS, Attempt, definition, key, page  # noqa: E402

FOUND = {
    "kept": 0.0912,
    "low": 0.09,
    "high": 0.0925,
    "chosen_at_steps": 4000,
    "curve": [[2000, 0.08], [4000, 0.0899]],
    "cpu_s": 12.4,
}


def test_every_attempt_is_another_training():
    definitions = {str(definition(attempt)) for attempt in ATTEMPTS}

    assert len(definitions) == len(ATTEMPTS)
    assert len({key(attempt) for attempt in ATTEMPTS}) == len(ATTEMPTS)


def test_another_number_is_another_attempt():
    first = Attempt("a", "why", "bursty_workload", changes={"gamma": 0.9})
    other = dataclasses.replace(first, changes={"gamma": 0.91})

    assert definition(first) != definition(other)


def test_the_page_says_what_changed_and_what_came_of_it():
    tried = Attempt("a", "why", "bursty_workload", steps=4000, changes={"gamma": 0.9})
    not_yet = Attempt("b", "why", "bursty_workload")

    text = page([tried, not_yet], {key(tried): {"reached": FOUND}})

    row = "| a | why | `gamma` 0.9 | 4,000 | +0.0912 | +0.0900 to +0.0925 | 4,000 | +0.0899 | 12 |"
    assert row in text
    assert "| b |" not in text
