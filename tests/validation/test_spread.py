"""A call that fails, crashes or hangs costs its own result and no other."""

import os
import time

from whichgpu.validation.spread import Failed, spread


def answer(task):
    if task == "fail":
        raise ValueError("no such thing\nat all")
    if task == "crash":
        os._exit(7)
    if task == "hang":
        time.sleep(60)
    return task.upper()


def test_every_call_is_answered():
    tasks = ["a", "fail", "b", "crash", "hang", "c"]
    found = dict(spread(answer, tasks, processes=2, timeout_s=3))
    assert found == {
        "a": "A",
        "b": "B",
        "c": "C",
        "fail": Failed("ValueError: no such thing"),
        "crash": Failed("its process died with exit code 7"),
        "hang": Failed("not done after 3 s"),
    }
