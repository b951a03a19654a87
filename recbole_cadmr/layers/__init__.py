"""Modules without a data set: encoders, fusion, attention, autoencoder, Total Correlation."""
