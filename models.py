"""The wire's records, where `openenv push` looks for them; programs use `llmserve_env.models`."""

from llmserve_env.models import ServeAction, ServeObservation, ServeState

__all__ = ["ServeAction", "ServeObservation", "ServeState"]
