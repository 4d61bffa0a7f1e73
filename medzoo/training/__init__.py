"""Training generators from little data."""
