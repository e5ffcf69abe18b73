"""A report as one page of HTML that needs nothing else: no file beside it, no script, no network.

It reads on a wide window and a narrow one, in light and dark, and on paper. The drawings are `charts`, the words
`words`; that whatever was not made here is escaped is `markup`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from cf_data_tracker.stress import charts, words
from cf_data_tracker.stress.markup import Html, element
from cf_data_tracker.stress.report import PERCENTILES, Report

SHOWN: Final = 200
"""How many failures, and how many violations, are listed."""


def page(report: Report, made_with: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        report: What came of the run.
        made_with: What else to tell of it, as it should be read: versions, the machine, the date.
    """
    options = report.options
    title = f"Stress: {options.workers} workers x {options.files} files, {options.strategy}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: {words.verdict(report)}"),
        element("style", Html(STYLE)),
    )
    body = element("body", element("main", element("h1", title), _verdict(report), *_sections(report, made_with)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _sections(report: Report, made_with: Mapping[str, str]) -> Iterable[Html]:
    yield element(
        "div",
        _section("Figures", _table(words.rows(report))),
        _section("This run", _table(_settings(report, made_with))),
        class_="beside",
    )
    yield _section("How long recordings took", *_latencies(report))
    yield _section("Commits over time", *_commits(report))
    yield _section("Requests", *_requests(report))
    yield from _list("What is wrong", report.verdict.violations)
    yield from _list("What failed", [words.failure(failed) for failed in report.failed])


def _verdict(report: Report) -> Html:
    kind = (
        "bad" if not report.verdict.clean else "warn" if words.unfinished(report) or not report.acknowledged else "good"
    )
    said = words.verdict(report)
    return element(
        "section",
        element("p", f"{said[0].upper()}{said[1:]}.", class_="verdict"),
        element("p", words.reasons(report)),
        class_=f"card {kind}",
    )


def _section(title: str, *content: Html) -> Html:
    return element("section", element("h2", title), *content, class_="card")


def _table(rows: Iterable[tuple[str, str]]) -> Html:
    lines = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows)
    return element("table", *lines)


def _settings(report: Report, made_with: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    options = report.options
    yield "strategy", options.strategy
    yield "workers", str(options.workers)
    yield "files of each", str(options.files)
    yield "run as", report.executor
    yield "added latency", options.latency
    yield "killed on purpose", f"{options.kill:.0%} of the workers" if options.kill else "none"
    yield "endpoint", without_secrets(report.endpoint)
    yield "schema", options.schema
    yield from made_with.items()


def _latencies(report: Report) -> Iterable[Html]:
    if not report.acknowledged:
        yield _nothing("No recording was acknowledged.")
        return
    marks = {name: report.latency(percent) for name, percent in PERCENTILES.items()}
    yield charts.latencies(report.latencies, marks)
    yield _note("From the call to its return, on a logarithmic axis; as many recordings in each bar as it is high.")


def _commits(report: Report) -> Iterable[Html]:
    if not report.commits:
        yield _nothing(
            "None was seen: blind writes are not logged." if report.options.strategy == "unsafe" else "None was seen."
        )
        return
    yield charts.commits(report.commits, report.seconds)
    yield _legend({"own": "of the worker that commits", "others": "of others, taken along"})
    many = len(report.commits) > charts.SLOTS
    which = f"The largest of every {charts.duration(report.seconds / charts.SLOTS)}" if many else "Each commit"
    yield _note(f"{which}, as high as it added recordings; {words.counted(len(report.commits), 'commit')} in all.")


def _requests(report: Report) -> Iterable[Html]:
    kinds = _kinds(report)
    if not kinds:
        yield _nothing("There were none.")
        return
    yield charts.shares(kinds)
    head = element("tr", *(element("th", text, scope="col") for text in ("kind", "each recording", "in all")))
    lines = (_request_row(charts.swatch(kind), KINDS[kind], number, report) for kind, number in kinds.items())
    yield element("table", head, *lines, _request_row(Html(), "all", report.requests, report), class_="numbers")


def _request_row(mark: Html, kind: str, number: int, report: Report) -> Html:
    name = element("th", mark, kind, scope="row")
    return element("tr", name, element("td", words.average(report, number)), element("td", f"{number:,}"))


KINDS: Final[Mapping[str, str]] = {
    "read": "read",
    "unchanged": "read, not changed since",
    "write": "write",
    "list": "list",
    "delete": "delete",
}
"""Kinds of requests and how they are called, in the order in which they stand."""


def _kinds(report: Report) -> dict[str, int]:
    """Return the requests by kind, those alone that there were."""
    numbers = {**report.stats.requests, "unchanged": report.stats.unchanged}
    numbers["read"] = numbers.get("read", 0) - report.stats.unchanged
    return {kind: numbers[kind] for kind in KINDS if numbers.get(kind)}


def _list(title: str, lines: Sequence[str]) -> Iterable[Html]:
    if not lines:
        return
    shown = [element("li", line) for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(element("li", f"... and {len(lines) - SHOWN} more"))
    yield _section(f"{title} ({len(lines)})", element("ul", *shown, class_="lines"))


def _legend(entries: Mapping[str, str]) -> Html:
    return element(
        "p", *(element("span", charts.swatch(kind), text) for kind, text in entries.items()), class_="legend"
    )


def _note(text: str) -> Html:
    return element("p", text, class_="note")


def _nothing(text: str) -> Html:
    return element("p", text, class_="nothing")


def without_secrets(endpoint: str) -> str:
    """Return an endpoint without the user, the password and the query that a URL may hold."""
    try:
        url = urlsplit(endpoint)
    except ValueError:
        return "not shown"
    place = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{place}{url.path}" if place else url.path


STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2430; --soft: #5b6675; --edge: #d9dee5;
  --own: #2f6db5; --others: #d9761a; --unchanged: #8fb8e8; --list: #7a55b5; --delete: #8a939f; --inside: #fff;
  --good: #1a7f43; --warn: #96690a; --bad: #c0272d; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181e; --card: #1d232b; --text: #e7ebf0; --soft: #9aa6b4; --edge: #37414d;
    --own: #6aa5ea; --others: #f0a050; --unchanged: #35608f; --list: #b497e6; --delete: #76818e; --inside: #10151b;
    --good: #56c98a; --warn: #e2b34a; --bad: #ff7b7b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 16px; }
h1 { font-size: 22px; line-height: 1.25; margin: 8px 0 16px; }
h2 { font-size: 16px; margin: 0 0 10px; }
p { margin: 0; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: 16px; margin: 0 0 16px; }
.good, .warn, .bad { border-left-width: 6px; }
.good { border-left-color: var(--good); } .good .verdict { color: var(--good); }
.warn { border-left-color: var(--warn); } .warn .verdict { color: var(--warn); }
.bad { border-left-color: var(--bad); } .bad .verdict { color: var(--bad); }
.verdict { font-size: 30px; line-height: 1.2; font-weight: 700; margin-bottom: 4px; }
.beside { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; align-items: start; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 4px 0; border-top: 1px solid var(--edge); text-align: left; vertical-align: top; }
th { font-weight: 400; color: var(--soft); padding-right: 12px; }
tr:first-child > * { border-top: 0; }
td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.numbers { margin-top: 10px; }
.numbers th + th { text-align: right; padding-right: 0; }
.numbers td, .numbers th + th { padding-left: 16px; white-space: nowrap; }
.numbers tr:last-child > * { font-weight: 600; color: var(--text); }
.chart { display: block; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.chart text.strong { fill: var(--text); font-weight: 600; }
.chart text.over { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.chart text.inside { fill: var(--inside); font-weight: 600; }
.axis { stroke: var(--soft); } .grid { stroke: var(--edge); }
.mark { stroke: var(--text); stroke-dasharray: 4 3; }
.own, .read { fill: var(--own); } .others, .write { fill: var(--others); }
.unchanged { fill: var(--unchanged); } .list { fill: var(--list); } .delete { fill: var(--delete); }
.stroke { stroke-width: 2px; } .own.stroke { stroke: var(--own); } .others.stroke { stroke: var(--others); }
.swatch { margin-right: 8px; vertical-align: -1px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 20px; margin-top: 8px; }
.note, .legend { color: var(--soft); font-size: 13px; } .note { margin-top: 8px; }
.nothing { color: var(--soft); font-style: italic; }
.lines { margin: 0; padding-left: 18px; font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
@media (max-width: 760px) { .beside { grid-template-columns: 1fr; } main { padding: 10px; } .card { padding: 12px; }
  .verdict { font-size: 26px; } h1 { font-size: 19px; } }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --soft: #444; --edge: #bbb;
    --own: #2f6db5; --others: #d9761a; --unchanged: #8fb8e8; --list: #7a55b5; --delete: #8a939f; --inside: #fff;
    --good: #1a7f43; --warn: #96690a; --bad: #c0272d; }
  @page { size: A4; margin: 14mm; }
  body { font-size: 9pt; line-height: 1.35; } th, td { padding: 2px 0; } main { padding: 0; max-width: none; }
  .beside { grid-template-columns: 1fr 1fr; }
  .card { break-inside: avoid; padding: 10px; margin-bottom: 10px; } .card:has(.lines) { break-inside: auto; }
  .swatch, .card { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
