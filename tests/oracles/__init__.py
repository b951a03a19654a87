"""Computations from definitions that share no code with the package: what tests compare it with."""
