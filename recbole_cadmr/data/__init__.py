"""Atomic files to tensors: data sets, features, graphs, rating rows, loaders. Knows no model."""
