"""The catalogue of faults as Python sees it, and how one is fired."""
