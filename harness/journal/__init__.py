"""Histories: one file a job, which outlives the process that writes it and knows no record of the rooms above it."""

from harness.journal.events import Closing, Event, Job, Kind, as_text, here, job_of, spelt
from harness.journal.history import AttemptJournal, Draft, History
from harness.journal.reading import Reading, Standing, read
from harness.journal.whole import replace_file

__all__ = [
    "AttemptJournal",
    "Closing",
    "Draft",
    "Event",
    "History",
    "Job",
    "Kind",
    "Reading",
    "Standing",
    "as_text",
    "here",
    "job_of",
    "read",
    "replace_file",
    "spelt",
]
