"""Many trials of one thing: rates, intervals, independence, advice."""
