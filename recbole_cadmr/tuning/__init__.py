"""Searches for settings on validation, with Ray Tune."""
