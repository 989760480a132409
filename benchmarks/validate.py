"""Predicted against published: ``python -m benchmarks.validate`` writes two sections of docs/accuracy.md.

Every step time and every kernel is predicted by coefficients fitted without any measurement of its GPU; this takes some
minutes. Needs ``../shared/measurements``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.calibrate import load_data, read_structure, say
from benchmarks.fit import fit
from benchmarks.leave_out import Check, KernelCheck, check_steps, leave_one_gpu_out
from benchmarks.sections import replace_section, table
from benchmarks.step_rows import NEWEST, StepRow
from whichgpu.cost import efficiencies

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
Groups = Iterable[tuple[tuple[str, str], list[Check]]]
# Quantile of the normal distribution that leaves a tenth above it.
_Z80 = 1.2816


def main() -> None:
    """Predict everything that was published, and write what came out."""
    data, unseen = load_data()
    full = fit(data, read_structure(), steps=25)
    steps, kernels = leave_one_gpu_out(data, unseen.steps, full, lambda gpu: say(f"without {gpu}"))
    shipped = check_steps(data.steps, efficiencies())
    replace_section(PAGE, "steps", steps_section(steps, shipped, data.steps))
    replace_section(PAGE, "kernels", kernels_section(kernels))
    say(f"wrote {PAGE}")


def steps_section(checks: Sequence[Check], shipped: Sequence[Check], fitted: Sequence[StepRow]) -> str:
    """Return the section on step times, as Markdown."""
    sigma = efficiencies().spreads["family"].sigma
    calibrated = [c for c in checks if c.row.calibrates]
    other = [c for c in checks if not c.row.calibrates]
    newest = [c for c in calibrated if c.row.software == NEWEST]
    summary = [
        _summary("all that are fitted to, each GPU unseen", calibrated, sigma),
        _summary(f"of these, {NEWEST}", newest, sigma),
        *(_summary(f"{job}, {precision}", group, sigma) for (job, precision), group in _by_job(calibrated)),
        *(
            _summary(f"never fitted to: {source}, {job}", list(group), sigma)
            for (source, job), group in _by_source(other)
        ),
        _summary("the same steps by the shipped coefficients, GPUs seen", shipped, sigma),
        _summary("the same steps by a plain roofline", [Check(r, plain_roofline_s(r)) for r in fitted], sigma),
    ]
    heads = ["steps", "n", "MAPE", "bias", "90 % within", "in 80 % interval"]
    by_gpu = [
        _summary(gpu, list(group), sigma)
        for gpu, group in groupby(sorted(calibrated, key=lambda c: c.row.device.name), lambda c: c.row.device.name)
    ]
    return "\n\n".join(
        [
            f"{_written()} {len(checks)} step times of training on one GPU, of "
            f"{len({c.row.device.name for c in checks})} GPUs. Each is predicted by coefficients fitted without any "
            "measurement of that GPU; nothing is added for old software, data loading or start-up, as the product adds "
            "nothing. Bias is the geometric mean of predicted / published, minus one.",
            table(heads, summary),
            "### By GPU",
            table(["GPU", *heads[1:]], by_gpu),
            "### Every step",
            table(
                ["GPU", "job", "precision", "layout", "source", "software", "batch", "published", "predicted", "error"],
                [_row(c) for c in sorted(checks, key=_order)],
                text_columns=6,
            ),
        ]
    )


def kernels_section(checks: Sequence[KernelCheck]) -> str:
    """Return the section on kernels, as Markdown."""
    ops = sorted({c.op for c in checks})
    errors = {(c.gpu, c.op): np.array(c.log_errors) for c in checks}
    rows = []
    for gpu in sorted({c.gpu for c in checks}):
        cells = [errors.get((gpu, op)) for op in ops]
        rows.append([gpu, *("–" if e is None else f"{_mape(e)} ({_bias(e)})" for e in cells)])
    everything = {op: np.concatenate([e for (_, o), e in errors.items() if o == op]) for op in ops}
    rows.append(["all", *(f"{_mape(everything[op])} ({_bias(everything[op])})" for op in ops)])
    count = sum(len(e) for e in errors.values())
    return "\n\n".join(
        [
            f"{_written()} {count} float32 kernels of NeuSight (ASPLOS 2025), forward, TF32 off, longer than 0.1 ms, "
            "predicted by coefficients fitted without any measurement of that GPU: mean absolute error, in brackets "
            "the bias. The call from Python around each is fitted, as it is not the product's.",
            table(["GPU", *ops], rows),
        ]
    )


def plain_roofline_s(row: StepRow) -> float:
    """Return what peak and bandwidth alone would give: every kernel at full rate, nothing else."""
    rates = row.device.flops_per_s
    seconds = 0.0
    for kernel, calls in zip(row.table.kernels, row.table.calls, strict=True):
        number_format = {"float16": "fp16", "bfloat16": "bf16"}.get(kernel.dtype, "fp32")
        if number_format == "fp32" and row.precision == "tf32" and kernel.gemm is not None:
            number_format = "tf32"
        compute_s = kernel.flops / rates.get(number_format, rates["fp32"])  # type: ignore[call-overload]
        seconds += calls * max(compute_s, kernel.bytes_moved / row.device.memory_bandwidth_bytes_per_s)
    return seconds


def _summary(name: str, checks: Sequence[Check], sigma: float) -> list[str]:
    errors = np.array([c.log_error for c in checks])
    inside = np.mean(np.abs(errors) <= _Z80 * sigma)
    within = np.quantile(np.abs(np.expm1(errors)), 0.9)
    return [name, str(len(errors)), _mape(errors), _bias(errors), f"{within:.0%}", f"{inside:.0%}"]


def _written() -> str:
    return f"Written by `python -m benchmarks.validate` on {date.today().isoformat()}."


def _mape(errors: np.ndarray) -> str:
    return f"{np.mean(np.abs(np.expm1(errors))):.1%}"


def _bias(errors: np.ndarray) -> str:
    return f"{math.expm1(float(np.mean(errors))):+.1%}"


def _row(check: Check) -> list[str]:
    r = check.row
    published, predicted = r.seconds * 1e3, check.predicted_s * 1e3
    error = f"{predicted / published - 1:+.0%}"
    texts = [r.device.name, r.job, r.precision, r.layout or "–", r.source, r.software]
    return [*texts, str(r.batch), f"{published:.1f} ms", f"{predicted:.1f} ms", error]


def _order(check: Check) -> tuple[str, ...]:
    r = check.row
    return (r.job, r.device.name, r.precision, r.source, r.software, f"{r.batch:05}")


def _grouped(
    checks: Iterable[Check], key: Callable[[Check], tuple[str, str]]
) -> Iterable[tuple[tuple[str, str], list[Check]]]:
    for found, group in groupby(sorted(checks, key=key), key):
        yield found, list(group)


def _by_job(checks: Iterable[Check]) -> Groups:
    return _grouped(checks, lambda c: (_job(c.row), c.row.precision))


def _by_source(checks: Iterable[Check]) -> Groups:
    return _grouped(checks, lambda c: (c.row.source, _job(c.row)))


def _job(row: StepRow) -> str:
    return f"models of timm's, {row.layout}" if row.job.startswith("timm:") else row.job


if __name__ == "__main__":
    main()
