"""Turns observations into actions, and learns to."""
