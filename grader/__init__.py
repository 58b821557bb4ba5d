"""Turns an episode log into a score between 0 and 1."""
