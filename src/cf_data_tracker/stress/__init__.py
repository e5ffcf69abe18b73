"""The stress benchmark: many workers record into one document, and a verdict says whether anything was lost.

`plan` says who records what, `worker` does it, `processes` and `executors` let many of them run, `verdict` judges
what they were told against the document, and `run` puts it all together. What is shown of it is left to `words`, to
`page` and to the command line.
"""

from cf_data_tracker.stress.options import Options, Progress
from cf_data_tracker.stress.report import Report
from cf_data_tracker.stress.run import run
from cf_data_tracker.stress.verdict import Verdict

__all__ = ["Options", "Progress", "Report", "Verdict", "run"]
