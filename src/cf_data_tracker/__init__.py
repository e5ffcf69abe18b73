"""Which versions of which files are in S3, agreed on by many workers, with no database and no server.

from cf_data_tracker import Tracker

tracker = Tracker.from_env()
done = tracker.record("vitals", "births", "FY2023", "births_2023.zip", file_size=810112, s3_location="s3://raw/...")
done.version, done.created                              # 1, True; recording it again gives 1, False
tracker.latest("vitals", "births", "FY2023").file       # "births_2023.zip"
"""

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.errors import (
    ClaimLostError,
    ContentionError,
    DifferentContentError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    LocalFileError,
    NotTrackedError,
    OutcomeUnknownError,
    SameContentError,
    StoreError,
    TrackerError,
    UnsafeStoreError,
    WouldLoseError,
)
from cf_data_tracker.model import Claim, CleanRecorded, FileVersion, NewFile, Recorded
from cf_data_tracker.stats import Stats
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload

__all__ = [
    "Claim",
    "ClaimLostError",
    "CleanRecorded",
    "CleanTracker",
    "ContentionError",
    "DifferentContentError",
    "DocumentError",
    "DocumentVanishedError",
    "FileVersion",
    "InvalidNameError",
    "LocalFileError",
    "NewFile",
    "NewUpload",
    "NotTrackedError",
    "OutcomeUnknownError",
    "Recorded",
    "SameContentError",
    "Stats",
    "StoreError",
    "Tracker",
    "TrackerError",
    "UnsafeStoreError",
    "WouldLoseError",
]
