"""Texts and pictures to feature vectors; knows items by their place alone."""
