"""Timing of calls whose time is known."""

import time

import pytest

from whichgpu.measure.calibration.timing import BLOCK_S, LEAST_BLOCKS, MOST_BLOCKS, Clock, Timing


class Manual:
    """Calls that take a known time of a clock that only they move."""

    def __init__(self, monkeypatch, *seconds):
        self.now, self.calls, self.seconds = 0.0, 0, seconds
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def __call__(self):
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1


def test_the_median_of_blocks_counts_and_their_spread_is_told():
    timing = Timing.of([1.0, 1.1, 0.9, 1.0, 9.0], 10)
    assert timing.seconds == 1.0
    assert timing.noise > 1
    assert Timing.of([2.0], 1).noise == 0.0


def test_a_short_call_is_timed_in_blocks_long_enough(monkeypatch):
    call = Manual(monkeypatch, 1e-5)
    timing = Clock("cpu").time(call, 0.05)
    assert timing.seconds == pytest.approx(1e-5)
    assert timing.calls == pytest.approx(BLOCK_S / 1e-5, abs=1)
    assert LEAST_BLOCKS <= timing.blocks <= MOST_BLOCKS


def test_a_slow_first_call_does_not_count(monkeypatch):
    call = Manual(monkeypatch, 5.0, 1e-3)
    assert Clock("cpu").time(call, 0.05).seconds == pytest.approx(1e-3)


def test_a_long_call_is_timed_few_times(monkeypatch):
    call = Manual(monkeypatch, 2.0)
    timing = Clock("cpu").time(call, 0.1)
    assert timing.seconds == 2.0
    assert call.calls <= 6


def test_what_is_kept_up_is_timed_once_it_has_settled(monkeypatch):
    # A tenth of a second fast, then slow: what a power limit does.
    call = Manual(monkeypatch, *[0.01] * 10, 0.02)
    timing, burst_s = Clock("cpu").sustain(call, 2.0)
    assert burst_s == pytest.approx(0.01)
    assert timing.seconds == pytest.approx(0.02)
    assert call.now >= 2.0
