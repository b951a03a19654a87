"""Trainers and checkpoints: phases, early stop, and runs that go on where they were cut."""
