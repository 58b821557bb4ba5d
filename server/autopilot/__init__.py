"""Runs a policy against a live vLLM that serves its own users: it reads metrics and moves knobs."""
