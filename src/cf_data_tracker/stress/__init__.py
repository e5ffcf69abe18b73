"""The stress benchmark: worker processes record into one document, and a verdict says whether anything was lost.

`plan` says who records what, `worker` does it in a process of its own, `verdict` judges the logs against the document,
and `run` puts them together. How the result looks is left to the command line.
"""

from cf_data_tracker.stress.run import Options, Progress, Report, run
from cf_data_tracker.stress.verdict import Verdict

__all__ = ["Options", "Progress", "Report", "Verdict", "run"]
