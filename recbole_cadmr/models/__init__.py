"""One file a model, and the registry that finds it by name."""
