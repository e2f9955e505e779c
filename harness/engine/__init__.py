"""The attempt loop and the life of a run."""
