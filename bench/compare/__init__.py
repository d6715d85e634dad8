"""Measure PSM beside its peers: what runs, how, and what is made of it."""
