"""Upstream's data: codes, errors, truncation, policies, requests. Values only: no clock, process or file."""
