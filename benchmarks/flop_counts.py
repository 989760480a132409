"""FLOPs of the built-in jobs held against torch's own counter and against published figures.

``python -m benchmarks.flop_counts`` writes the section of docs/accuracy.md. torch's counter sees matrix products,
convolutions and attention; so only those are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sections import replace_section
from whichgpu.graph import Op
from whichgpu.work import MATRIX_KINDS, count_op
from whichgpu.workloads import definition, workload, workload_names

# Multiply-adds of one forward pass, as printed by their sources.
PUBLISHED_GMACS = {
    "resnet50": (4.089, "torchvision, ResNet50_Weights"),
    "vit-b16": (17.564, "torchvision, ViT_B_16_Weights"),
}

GIGA = 1e9
TERA = 1e12


@dataclass(frozen=True)
class FlopCheck:
    """One job's FLOPs of a training step, as counted here and by torch."""

    job: str
    batch: int
    ours: float
    torch_counter: float
    forward_gmacs: float


def matrix_flops(ops: Iterable[Op]) -> float:
    """Return the FLOPs of matrix kernels, causal attention counted whole as torch's counter does."""
    total = 0.0
    for op in ops:
        whole = 2.0 if op.attributes.get("is_causal") else 1.0
        kernels = count_op(op).kernels
        total += sum(whole * k.flops * op.repeat for k in kernels if k.kind in (*MATRIX_KINDS, "depthwise_convolution"))
    return total


def torch_flops(name: str, batch: int) -> float:
    """Return what torch's FlopCounterMode sees in one training step, in float32 where the job has it.

    The step runs on the meta device, or where the model looks at a mask's values on the CPU; a model too large for that
    runs on the phantom GPU, where torch's counter still counts by its own formulas.
    """
    from contextlib import nullcontext

    from torch.utils.flop_counter import FlopCounterMode

    from whichgpu.capture import phantom_gpu

    job = definition(name)
    precision = "fp32" if "fp32" in job.precisions else job.precision
    device = {"bert-base": "cpu", "gpt2": "cpu", "llama3-8b-lora": "cuda"}.get(name, "meta")
    with phantom_gpu() if device == "cuda" else nullcontext():
        step = job.training_step(batch, device, precision)
        with FlopCounterMode(display=False) as counter:
            step()
    return float(counter.get_total_flops())


def check_job(name: str, batch: int = 1) -> FlopCheck:
    """Return the comparison of one job at `batch` samples a step."""
    job = definition(name)
    ops = workload(name, batch=batch, precision="fp32" if "fp32" in job.precisions else job.precision).graph.ops
    forward = matrix_flops(op for op in ops if op.phase == "forward") / 2 / GIGA / batch
    return FlopCheck(name, batch, matrix_flops(ops), torch_flops(name, batch), forward)


def table(checks: Iterable[FlopCheck]) -> str:
    """Return the comparisons as a Markdown table."""
    lines = [
        "| job | FLOPs of a step, one sample | torch's counter | ours / torch's | forward GMACs a sample | published |",
        "|---|---|---|---|---|---|",
    ]
    for c in checks:
        gmacs, source = PUBLISHED_GMACS.get(c.job, (None, ""))
        published = "" if gmacs is None else f"{gmacs:.3f} ({source}): {c.forward_gmacs / gmacs - 1:+.2%}"
        lines.append(
            f"| {c.job} | {c.ours / TERA:.5f} T | {c.torch_counter / TERA:.5f} T | {c.ours / c.torch_counter:.4f} "
            f"| {c.forward_gmacs:.3f} | {published} |"
        )
    return "\n".join(lines)


EXPLANATION = """One training step of each built-in job at batch 1: matrix products, convolutions, attention, which is
what torch's FlopCounterMode sees. Causal attention is counted whole here, as the counter does; estimates count the half
that runs. Fused attention makes its weights a second time in backward (five products, not four), which torch's counter
does not see where it runs the step with unfused attention: that is the whole difference of the transformers."""


def main() -> None:
    """Write the section "flops" of docs/accuracy.md."""
    page = Path(__file__).parent.parent / "docs" / "accuracy.md"
    replace_section(page, "flops", f"{EXPLANATION}\n\n{table(check_job(name) for name in workload_names())}")


if __name__ == "__main__":
    main()
