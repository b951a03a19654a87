"""One run: train, resume, evaluate, and what a run leaves in its folder."""
