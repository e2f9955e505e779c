"""Histories: one file a job, which outlives the process that writes it and knows no record of the rooms above it."""

from harness.journal.events import Closing, Event, Job, Kind, spelt
from harness.journal.history import AttemptJournal, History
from harness.journal.reading import Reading, Standing, read

__all__ = [
    "AttemptJournal",
    "Closing",
    "Event",
    "History",
    "Job",
    "Kind",
    "Reading",
    "Standing",
    "read",
    "spelt",
]
