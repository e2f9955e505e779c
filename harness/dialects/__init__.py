"""A dialect is classification and decision; each has a parent whose answers it takes where it says nothing."""
