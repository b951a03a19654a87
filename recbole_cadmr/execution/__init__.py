"""Runs as processes, and blocks of work: on this machine and on a Ray cluster."""
