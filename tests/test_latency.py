"""Latencies: what is drawn has the published median and 99th percentile."""

import random

import pytest

from cf_data_tracker.stress.latency import PROFILES, Latency

DRAWS = 20_000
EVERY = [(profile, kind) for profile, kinds in PROFILES.items() for kind in kinds]


@pytest.mark.parametrize(("profile", "kind"), EVERY)
def test_draws_have_the_published_percentiles(profile: str, kind: str) -> None:
    """Of 20,000 draws the median and the 99th percentile are the published ones, to within 3 %."""
    latency, normal = PROFILES[profile][kind], random.Random(1).gauss
    drawn = sorted(latency.draw(normal) for _ in range(DRAWS))
    assert (latency.p50, latency.p99) == pytest.approx((drawn[DRAWS // 2], drawn[DRAWS * 99 // 100]), rel=0.03)


def test_a_draw_in_the_middle_is_the_median() -> None:
    """Where the normal distribution gives its mean, the time is the median."""
    assert 0.061 == pytest.approx(Latency(0.061, 0.103).draw(lambda mean, _: mean))


def test_a_draw_at_the_99th_percentile_is_the_99th_percentile() -> None:
    """Where the normal distribution gives its own 99th percentile, 2.326 deviations above the mean, so is the time."""
    assert 0.103 == pytest.approx(Latency(0.061, 0.103).draw(lambda mean, deviation: mean + 2.326348 * deviation))


def test_a_latency_may_always_be_the_same() -> None:
    """With its 99th percentile at the median, every draw is the median."""
    assert {0.02} == {Latency(0.02, 0.02).draw(random.Random(1).gauss) for _ in range(100)}


def test_profiles_know_the_same_kinds() -> None:
    """Every profile tells the latency of each kind of request, so that one can take another's place."""
    assert {frozenset({"read", "unchanged", "write", "list", "delete"})} == {frozenset(p) for p in PROFILES.values()}
