"""The comparison of op lists, on lists whose differences are known; the run itself needs a GPU."""

import pytest
from benchmarks import gpu_check
from benchmarks.gpu_check import CASES, Case, CheckedCase, difference, phantom_names, section

from whichgpu.graph import Graph, Job, Op, Tensor
from whichgpu.workloads import definition


def test_equal_lists_do_not_differ():
    names = ["aten.mm.default", "aten.relu.default"] * 3
    assert difference(names, list(names)) == ()


def test_what_is_missing_extra_or_other_is_told_apart():
    lines = difference(["a", "b", "c"], ["a", "x", "c", "d"])
    assert [line for line in lines if not line.startswith("@@")] == ["-b", "+x", "+d"]


def test_a_repeated_op_is_as_many_calls():
    x = Tensor((4,), "float32")
    ops = (Op("aten.relu.default", {"self": x}, (x,), repeat=3), Op("aten.alias.default", {"self": x}, (x,)))
    assert phantom_names(Job("tiny", Graph(ops), 1)) == ["aten.relu.default"] * 3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_case_is_one_the_job_has(case):
    definition(case.job).check_options(case.batch, case.precision, case.layout or definition(case.job).layout)


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu_check.main()
    assert "skipped: torch finds no CUDA GPU" in capsys.readouterr().out


def test_a_case_that_failed_is_shown_with_its_reason():
    case = Case("mnist", 64, "fp32")
    failed = CheckedCase(case, 50, (), 1 << 30, None, 1e-3, None, "OutOfMemoryError: no")
    fine = CheckedCase(case, 50, ("-a", "+b"), 1 << 30, 1 << 30, None, 2e-3)
    text = section({"gpu": "Some GPU"}, [failed, fine])
    assert "OutOfMemoryError: no" in text
    assert "| mnist batch 64 fp32 | 50 | 2 | 1.00 | 1.00 | – | 2.0 |" in text
