"""Scenarios: data in, cases lived, verdicts out."""
