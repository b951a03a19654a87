"""Texts, pictures and sounds to feature vectors; items are known only by their position."""
