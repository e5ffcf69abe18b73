"""Interleavings: workers at one document, where one hand decides what threads, processes and networks decide.

A worker is the real engine in a greenlet. Whenever one asks the store, the run stops, and the dice say who goes on,
what befalls the request, and how a random number compares. So a run is what its dice say: it can be told again, and a
small plan can be tried in every way. The laws are looked at in every step, and the first that is broken ends the run
with its story.

    every state     each commit raises the revision by one and takes nothing away; numbers are dense, no file and no
                    recording stands twice; what was said not to be written never appears
    every answer    is true of the document at some time during the call, and higher than whatever was there before it
    every entry     that is published is in the document after two commits that listed the inbox at the latest
    the end         every worker ends, and then one more that combines leaves no entry behind, dead workers' neither

Which laws hold for one worker and one answer is left to `test_commit` and `test_combine`.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, to_bytes, versions_of
from cf_data_tracker.engine.combine import TUNING, Combiner, Ledger, Tuning
from cf_data_tracker.engine.commit import Engine, Patience, Surroundings
from cf_data_tracker.entries import opened
from cf_data_tracker.errors import (
    DeniedError,
    DocumentVanishedError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
    TrackerError,
)
from cf_data_tracker.names import inbox_prefix
