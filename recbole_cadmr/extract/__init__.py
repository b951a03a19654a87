"""Texts and pictures to feature vectors; items are known only by their position."""
