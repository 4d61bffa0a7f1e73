"""Metrics: pure functions of arrays, one file each. Nothing here reads a file or knows a model."""
