"""Many models on many data sets over many seeds: planned, run, and set side by side."""
