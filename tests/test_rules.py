import pytest
from pydantic import ValidationError

from agents.rules import DynamicSdRules, load_rules


def sourced(**values):
    return {name: {"value": value, "source": "a paper"} for name, value in values.items()}


TABLE = sourced(deep_batch=64, deep_depth=3, shallow_batch=128, shallow_depth=1, margin=8)


def test_the_shipped_rules_are_complete():
    assert load_rules().heuristic.cap_ceiling == 256.0


def test_a_table_is_read_by_its_values():
    assert DynamicSdRules.model_validate(TABLE).shallow_batch == 128.0


def test_a_number_without_a_source_is_refused():
    with pytest.raises(ValidationError, match="source"):
        DynamicSdRules.model_validate(TABLE | {"margin": {"value": 8.0}})


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValidationError, match="bogus"):
        DynamicSdRules.model_validate(TABLE | sourced(bogus=1))
