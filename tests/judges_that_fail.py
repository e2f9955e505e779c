"""A module of a user's that leaves while it is imported."""

import sys

sys.exit(0)
