"""Which versions of which files are in S3, agreed on by many workers, with no database and no server.

from cf_data_tracker import Tracker

tracker = Tracker.from_env()
done = tracker.record("vitals", "births", "FY2023", "births_q1.zip", file_size=810112, s3_location="s3://raw/...")
done.version, done.created                              # 1, True; recording it again gives 1, False
tracker.latest("vitals", "births", "FY2023").file       # "births_q1.zip"
"""

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    NotTrackedError,
    OutcomeUnknownError,
    StoreError,
    TrackerError,
    UnsafeStoreError,
)
from cf_data_tracker.model import CleanRecorded, FileVersion, NewFile, Recorded
from cf_data_tracker.stats import Stats
from cf_data_tracker.tracker import Tracker

__all__ = [
    "CleanRecorded",
    "CleanTracker",
    "ContentionError",
    "DocumentError",
    "DocumentVanishedError",
    "FileVersion",
    "InvalidNameError",
    "NewFile",
    "NotTrackedError",
    "OutcomeUnknownError",
    "Recorded",
    "Stats",
    "StoreError",
    "Tracker",
    "TrackerError",
    "UnsafeStoreError",
]
