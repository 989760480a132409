"""How busy others were, from two recorded /proc/stat files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from whichgpu.other_programs import ProcessorTime, _session_ticks, crowding_note

# Two processors, recorded 10 s apart; a tick is a hundredth of a second.
BEFORE = "cpu  100000 0 20000 500000 1000 0 500 300 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\nintr 5\n"
# 1,500 ticks of user, 100 of system and 20 of stolen time later, and 380 idle.
AFTER = BEFORE.replace("cpu  100000 0 20000 500000 1000 0 500 300", "cpu  101500 0 20100 500380 1000 0 500 320")

needs_ticks = pytest.mark.skipif(
    not hasattr(os, "sysconf") or os.sysconf("SC_CLK_TCK") != 100, reason="recorded with 100 ticks a second"
)


def recorded(tmp_path: Path, text: str, own_s: float) -> ProcessorTime:
    path = tmp_path / "stat"
    path.write_text(text)
    time = ProcessorTime.now(path)
    assert time is not None
    return replace(time, own_s=own_s)


@needs_ticks
def test_what_is_not_ours_is_others(tmp_path: Path) -> None:
    """16.2 s of 20 were busy; of these 10 were ours: others had 0.62 of the two processors."""
    before, after = recorded(tmp_path, BEFORE, 50.0), recorded(tmp_path, AFTER, 60.0)
    assert after.processors == 2
    assert after.others_since(before) == pytest.approx(0.62)
    assert crowding_note(before, after, threads=1) == ()  # 1 + 0.62 fit in two
    (note,) = crowding_note(before, after, threads=2)
    assert note == "Other programs kept 0.6 of 2 processors busy meanwhile: a quiet machine is faster."


@needs_ticks
def test_a_quiet_machine_is_not_mentioned(tmp_path: Path) -> None:
    before, after = recorded(tmp_path, BEFORE, 50.0), recorded(tmp_path, AFTER, 66.1)
    assert crowding_note(before, after, threads=2) == ()
    assert crowding_note(before, before, threads=2) == ()


@pytest.mark.parametrize("text", ["", "cpu a b c\n", None])
def test_where_nothing_is_told_nothing_is_said(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "stat"
    if text is not None:
        path.write_text(text)
    assert ProcessorTime.now(path) is None
    assert crowding_note(None, None, threads=2) == ()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="there is no /proc/stat")
def test_this_machine() -> None:
    time = ProcessorTime.now()
    assert time is not None
    assert time.processors >= 1
    assert 0 < time.own_s < time.busy_s < time.total_s


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="there are no sessions")
def test_what_loads_data_for_this_process_is_its_own(tmp_path: Path) -> None:
    """Of three programs two are of this session: 10 + 20 + 3 + 4 ticks, and 100."""
    session = os.getsid(0)
    (tmp_path / "stat").write_text(BEFORE)
    for number, (name, own, ticks) in enumerate(
        [("pt_data (worker) 1", session, "10 20 3 4"), ("b", session, "100 0 0 0"), ("c", session + 1, "9000 0 0 0")]
    ):
        (tmp_path / str(number)).mkdir()
        line = f"{number} ({name}) S 1 1 {own} 0 -1 4194304 1 2 3 4 {ticks} 20 0 1 0 55\n"
        (tmp_path / str(number) / "stat").write_text(line)
    assert _session_ticks(tmp_path) == 137
    alone, together = ProcessorTime.now(tmp_path / "stat"), ProcessorTime.now(tmp_path / "stat", with_session=True)
    assert alone is not None and together is not None
    assert together.own_s >= alone.own_s


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_the_live_processes_of_this_session() -> None:
    assert _session_ticks(Path("/proc")) > 0
