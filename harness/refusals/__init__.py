"""Refusals aimed at the user's own code: one allocation, mapping, thread, process or file operation at a time."""
