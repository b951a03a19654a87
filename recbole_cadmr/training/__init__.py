"""Trainers, what is called while they train, and checkpoints from which a run is resumed."""
