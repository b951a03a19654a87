"""One run: train, resume, evaluate, recommend, and what a run leaves in its folder."""
