"""Baselines for CI: what a classifier answered once, held against what it answers now."""
