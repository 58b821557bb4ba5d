"""Loads a real server by a plan and keeps what it answers, for `llmserve calibrate`."""
