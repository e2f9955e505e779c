"""A baseline for CI: what was recorded, what is seen now, and what the gate says of the difference."""
