"""Questions answered by many runs: variants of models side by side, planned in one yaml file each."""
