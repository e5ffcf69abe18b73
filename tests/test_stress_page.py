"""The page of a stress run: one file, everything escaped, and sane where there is little or nothing to show."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.stats import Stats
from cf_data_tracker.stress import Options, Report
from cf_data_tracker.stress.charts import SLOTS, commits, duration, latencies, shares
from cf_data_tracker.stress.markup import VOID, Html, element, together
from cf_data_tracker.stress.page import SHOWN, page, without_secrets
from cf_data_tracker.stress.verdict import Acknowledged, Verdict
from cf_data_tracker.stress.watch import Committed
from cf_data_tracker.stress.worker import Failed

EMPTY = Report(
    options=Options(schema="s"),
    executor="processes",
    endpoint="http://127.0.0.1:9000",
    seconds=0.0,
    acknowledged=[],
    failed=[],
    killed=0,
    died=0,
    stats=Stats(),
    commits=[],
    versions=0,
    revision=0,
    verdict=Verdict(lost=0, duplicated=0, violations=()),
)
MADE_WITH = {"Python": "3.10"}


def told(number: int, seconds: float) -> Acknowledged:
    """Return an acknowledgement that took so long."""
    return Acknowledged(
        worker=0,
        table="t",
        file_name="f",
        file=f"{number}.zip",
        version=number,
        created=True,
        began=1.0,
        ended=1.0 + seconds,
    )


def made(revision: int, at: float, recordings: int = 1, others: int = 0) -> Committed:
    """Return a commit."""
    return Committed(revision=revision, at=at, recordings=recordings, others=others)


FULL = replace(
    EMPTY,
    seconds=2.0,
    acknowledged=[told(number, 0.001 * number) for number in range(1, 21)],
    stats=Stats(requests={"read": 30, "write": 25, "list": 4, "delete": 1}, unchanged=10, conflicts=5, combined=6),
    commits=[made(1, 0.1), made(2, 0.5, 9, 6), made(3, 1.9, 10)],
    versions=20,
    revision=3,
)
REPORTS = {
    "full": FULL,
    "empty": EMPTY,
    "one": replace(
        EMPTY,
        seconds=0.01,
        acknowledged=[told(1, 0.01)],
        stats=Stats(requests={"write": 1}, commits=1),
        commits=[made(1, 0.01)],
        versions=1,
        revision=1,
    ),
    "unsafe": replace(FULL, options=Options(schema="s", strategy="unsafe"), commits=[]),
    "in no time": replace(FULL, seconds=0.0, acknowledged=[told(1, 0.0)], commits=[made(1, 0.0), made(2, -3.0)]),
}


class Reader(HTMLParser):
    """Reads a page as a browser does, and asserts that each element ends where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.count[tag] += 1
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text, but for styles."""
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What is to be read."""
        return " ".join(" ".join(self.words).split())


def read(report: Report) -> Reader:
    """Return the page of a report as it reads."""
    return Reader(page(report, MADE_WITH))


class TestPage:
    """The page as a whole."""

    @pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
    def test_it_needs_nothing_else(self, report: Report) -> None:
        """It is one whole page without a script, a link or a file beside it, and no number on it is none."""
        text = page(report, MADE_WITH)
        reader = Reader(text)
        assert text.startswith("<!doctype html>\n<html")
        assert [] == reader.links
        assert {"script", "link", "img", "iframe"}.isdisjoint(reader.count)
        assert "url(" not in text
        assert "@import" not in text
        assert not re.search(r"\b(nan|inf)\b|None[<%\"]", text)

    def test_a_clean_run_says_so(self) -> None:
        """In big plain words."""
        assert "Clean. Every acknowledged recording is there once" in read(FULL).text

    def test_a_run_that_lost_says_what(self) -> None:
        """How many, and each violation."""
        wrong = replace(FULL, verdict=Verdict(lost=2, duplicated=1, violations=("t/f/a: gone", "t/f/b: twice")))
        reader = read(wrong)
        assert "NOT clean. 2 acknowledged files were lost, 1 are there twice, 2 violations in all." in reader.text
        assert "What is wrong (2) t/f/a: gone t/f/b: twice" in reader.text

    def test_a_clean_run_that_was_not_finished_says_so(self) -> None:
        """What failed and who died is told beside the verdict, and listed."""
        failed = [
            Failed(worker=3, file="a.zip", kind="ContentionError", message="try later"),
            Failed(worker=4, file="", kind="OSError", message="gone"),
        ]
        reader = read(replace(FULL, failed=failed, died=1))
        assert "But 1 recording failed and 1 worker died." in reader.text
        assert "worker 3, a.zip: ContentionError: try later worker 4: OSError: gone" in reader.text

    def test_a_run_without_recordings_is_not_called_a_success(self) -> None:
        """Nothing is wrong with it, and nothing was proven."""
        reader = read(EMPTY)
        assert "Clean, but nothing was recorded. No recording was acknowledged" in reader.text
        assert 0 == reader.count["svg"]

    def test_blind_writes_have_no_commits_to_draw(self) -> None:
        """The page says why."""
        assert "blind writes are not logged" in read(REPORTS["unsafe"]).text

    @pytest.mark.parametrize(
        ("writes", "each"), [(0, "0.00"), (3, "0.0023"), (130, "0.10"), (650, "0.50"), (2600, "2.00")]
    )
    def test_small_averages_are_not_rounded_away(self, writes: int, each: str) -> None:
        """Threads that share commits take far less than a request for each recording."""
        report = replace(FULL, acknowledged=[told(1, 0.1)] * 1300, stats=Stats(requests={"write": writes, "list": 1}))
        assert f"attempts per recording {each}" in read(report).text

    def test_its_settings_are_told(self) -> None:
        """What was run, where, and with what."""
        options = Options(schema="s", workers=9, files=7, strategy="cas", latency="express", kill=0.25)
        text = read(replace(FULL, options=options, executor="threads")).text
        for said in (
            "cas",
            "9",
            "7",
            "threads",
            "express",
            "25% of the workers",
            "http://127.0.0.1:9000",
            "Python 3.10",
        ):
            assert said in text

    def test_long_lists_end(self) -> None:
        """Not more is listed than anybody reads."""
        violations = tuple(f"violation {number}." for number in range(SHOWN + 5))
        text = read(replace(FULL, verdict=Verdict(lost=0, duplicated=0, violations=violations))).text
        assert f"violation {SHOWN - 1}." in text
        assert f"violation {SHOWN}." not in text
        assert "and 5 more" in text

    @given(st.text())
    def test_whatever_is_told_is_text(self, told: str) -> None:
        """Nothing that comes from outside becomes markup."""
        failed = Failed(worker=0, file=told, kind=told, message=told)
        verdict = Verdict(lost=0, duplicated=0, violations=(told,))
        plain, odd = read(FULL), Reader(page(replace(FULL, failed=[failed], verdict=verdict), {told: told}))
        assert plain.count + Counter({"section": 2, "h2": 2, "ul": 2, "li": 2}) == odd.count

    @pytest.mark.parametrize(
        ("endpoint", "shown"),
        [
            ("http://me:hunter2@127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("https://hunter2@store/path?X-Amz-Signature=hunter2#hunter2", "https://store/path"),
            ("AWS", "AWS"),
            ("http://[hunter2", "not shown"),
        ],
    )
    def test_no_secret_of_an_endpoint_is_shown(self, endpoint: str, shown: str) -> None:
        """Neither a user nor a password nor a signature."""
        assert shown == without_secrets(endpoint)
        text = page(replace(FULL, endpoint=endpoint), MADE_WITH)
        assert shown in text
        assert "hunter2" not in text


class TestMarkup:
    """Elements and text."""

    def test_text_is_escaped_and_elements_are_not(self) -> None:
        """Once, wherever it stands."""
        assert '<p title="&quot;&lt;&quot;">a &lt; b<b>c &amp; d</b></p>' == element(
            "p", "a < b", element("b", "c & d"), title='"<"'
        )

    def test_names_that_python_keeps_can_be_written(self) -> None:
        """`class_` is `class`, `aria_label` is `aria-label`, and what is none is left out."""
        assert '<i class="x" aria-label="y"></i>' == element("i", class_="x", aria_label="y", id=None)

    def test_parts_stay_what_they_are(self) -> None:
        """Markup stays markup, text becomes it."""
        assert Html("<br>&lt;br&gt;3") == together(element("br"), "<br>", 3)


def numbers(drawing: str, attribute: str) -> list[float]:
    """Return the values of an attribute, in percent."""
    return [float(value) for value in re.findall(rf'\b{attribute}="([-0-9.]+)%"', drawing)]


class TestDrawings:
    """What is drawn stays on the drawing and adds up."""

    @given(st.lists(st.floats(min_value=0.0, max_value=1e5), min_size=1))
    def test_any_times_can_be_drawn(self, times: list[float]) -> None:
        """Bars, marks and ticks are within the drawing, whatever the times."""
        drawing = latencies(times, {"p50": sorted(times)[len(times) // 2], "max": max(times)})
        Reader(drawing)
        assert all(0 <= x <= 100 for name in ("x", "x1", "x2") for x in numbers(drawing, name))
        assert duration(max(times)) in drawing

    @given(
        st.lists(st.tuples(st.floats(-10, 1e5), st.integers(0, 1000), st.integers(0, 1000)), min_size=1),
        st.floats(0, 1e5),
    )
    def test_any_commits_can_be_drawn(self, given: list[tuple[float, int, int]], seconds: float) -> None:
        """Lines and ticks are within the drawing, whatever the commits."""
        drawing = commits([made(1, at, own + others, others) for at, own, others in given], seconds)
        Reader(drawing)
        assert all(0 <= x <= 100 for name in ("x", "x1", "cx") for x in numbers(drawing, name))
        assert all(0 <= float(y) <= 200 for y in re.findall(r'\b(?:y|y1|y2|cy)="([-0-9.]+)"', drawing))

    def test_of_many_commits_the_largest_are_drawn(self) -> None:
        """A line for each slot of time, and none of the high ones is left out."""
        many = [made(number, number / 100, 50 if number == 777 else 1) for number in range(10 * SLOTS)]
        drawing = commits(many, 10 * SLOTS / 100)
        assert SLOTS == drawing.count('class="own stroke"')
        assert ">50</text>" in drawing

    def test_own_and_others_are_told_apart(self) -> None:
        """A commit's line is its own recordings below, and those of others above."""
        drawing = commits([made(1, 1.0, recordings=4, others=3)], 2.0)
        own, others = (re.search(rf'y1="([0-9.]+)" y2="([0-9.]+)" class="{kind} stroke"', drawing) for kind in KINDS)
        assert own is not None
        assert others is not None
        assert own[2] == others[1]
        assert 3 * (float(own[1]) - float(own[2])) == pytest.approx(float(others[1]) - float(others[2]))

    def test_shares_fill_the_bar(self) -> None:
        """Parts follow one another, as wide as their numbers; only wide ones carry these."""
        drawing = shares({"read": 60, "write": 30, "list": 0, "delete": 10})
        parts = re.findall(r'<rect x="([0-9.]+)%" width="([0-9.]+)%"', drawing)
        assert [(0.0, 60.0), (60.0, 30.0), (90.0, 10.0)] == [(float(x), float(width)) for x, width in parts]
        assert (">60</text>" in drawing, ">30</text>" in drawing, ">10</text>" in drawing) == (True, True, False)

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (0.0, "0 µs"),
            (0.0000042, "4.2 µs"),
            (0.0012345, "1.23 ms"),
            (0.05, "50 ms"),
            (0.9999, "1 s"),
            (93.21, "93.2 s"),
        ],
    )
    def test_times_read_well(self, seconds: float, said: str) -> None:
        """Three digits, in a unit that fits."""
        assert said == duration(seconds)


KINDS = ("own", "others")
