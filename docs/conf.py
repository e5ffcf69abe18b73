"""How Sphinx builds these pages, and where the text of cli.md comes from: the command line itself."""

from importlib.metadata import version as version_of

from sphinx.application import Sphinx
from typer.main import get_command
from typer.testing import CliRunner

from cf_data_tracker.cli.app import app as command_line

project = "cf-data-tracker"
author = "The cf-data-tracker authors"
project_copyright = f"2026 {author}"
release = version = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

default_role = "code"  # docstrings are plain text, in which `name` is code
add_module_names = False
autodoc_typehints = "signature"  # types stand there alone; docstrings give meaning and units
autodoc_member_order = "bysource"
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_maximum_signature_line_length = 72

nitpicky = True
nitpick_ignore = [
    ("py:class", "S3Client"),  # boto3 makes its clients at run time: there is no class to point at
    ("py:class", "Self"),  # the trackers' own class, which older releases of Sphinx look for
]
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|datetime|os)\..*"),  # their pages are not fetched: no network is needed
    ("py:class", r"(pd|pl|pa)\..*"),  # as little
]

highlight_language = "none"  # blocks that name no language are shell, or what it printed

html_theme = "furo"
html_title = f"cf-data-tracker {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]


def help_of(*arguments: str) -> str:
    """Return what the command line prints for `--help`, as a fenced block."""
    shown = CliRunner().invoke(command_line, [*arguments, "--help"], prog_name=project)
    return f"```text\n{shown.output.strip()}\n```\n"


def append_help(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the help of every command at the end of cli.md, in the order of the command line."""
    if page == "cli":
        names = list(getattr(get_command(command_line), "commands", ()))
        source[0] += help_of() + "".join(f"\n## {name}\n\n{help_of(name)}" for name in names)


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("source-read", append_help)
