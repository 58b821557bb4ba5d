"""Fits a profile's few constants to measured loads of somebody's own server."""
