"""Comparisons with fixed figures, chosen to show every case a report has: they are not predictions."""

from whichgpu.comparison.comparison import Comparison, JobSummary, Row, RowMemory, RowOffer

EPOCH = 1_281_167


def offer(provider: str, usd_per_h: float, age_days: int = 20, count: int = 1, high: float | None = None) -> RowOffer:
    return RowOffer(
        provider, "sku", count, usd_per_h, high, f"2025-10-{31 - age_days:02d}", age_days, "https://example.org/prices"
    )


def row(device, label, step_s, low, high, *, reference_s=118.0, bound=None, offer=None, epochs=1, **more) -> Row:
    samples_per_s = 256 / step_s
    epoch_s = EPOCH / samples_per_s
    price = None if offer is None else offer.usd_per_h * epoch_s / 3600
    return Row(
        device=device,
        label=label,
        accelerator=more.pop("accelerator", True),
        kind=more.pop("kind", "predicted"),
        precision=more.pop("precision", "amp-fp16"),
        step_s=step_s,
        step_s_low=low,
        step_s_high=high,
        interval_basis="errors on published timings of 14 GPUs",
        samples_per_s=samples_per_s,
        epoch_s=epoch_s,
        job_s=epoch_s * epochs,
        speedup=reference_s / step_s,
        bound=bound,
        usd_per_epoch=price,
        usd_per_job=None if price is None else price * epochs,
        offer=offer,
        **more,
    )


def memory(usable_gib: float | None, device_gib: float = 21.7) -> RowMemory:
    gib = 1024**3
    device = int(device_gib * gib)
    usable = None if usable_gib is None else int(usable_gib * gib)
    return RowMemory(
        allocated_bytes=int(19.9 * gib),
        reserved_bytes=int(21.4 * gib),
        device_bytes=device,
        device_bytes_low=int(device / 1.06),
        device_bytes_high=int(device * 1.06),
        usable_bytes=usable,
        margin_bytes=None if usable is None else usable - device,
        peak_phase="backward",
        holders={"parameters": 102_000_000, "activations": 21_000_000_000},
    )


def job(epochs: int = 1, **more) -> JobSummary:
    fields = {
        "name": "resnet50",
        "samples_per_step": 256,
        "samples_per_epoch": EPOCH,
        "steps_per_epoch": 5005,
        "epochs": epochs,
        "precision": "amp-fp16",
        "layout": "channels_last",
        "sample": "image of 224x224",
        "source": "torch 2.13.0, transformers 5.23.0",
        "flops_per_step": 6.3e12,
        "bytes_per_step": 1.2e11,
        "peak_bytes": 23_000_000_000,
        "options": {"batch": 256},
        "notes": (),
    }
    return JobSummary(**(fields | more))


def resnet50(epochs: int = 1) -> Comparison:
    """A measured CPU, a fallback, a device too small, one nobody rents, one that is rented by eight, three bounds."""
    close = "Memory is close: about 21.7 of 23.5 GiB; it may not fit."
    by_eight = "Rented 8 at a time at the least; all are paid for, one is used."
    cpu_notes = ("Measured at batch 16 and scaled to 256.",)
    many = {"epochs": epochs}
    rows = (
        row("AMD EPYC 7B13 64-Core Processor", "this CPU", 118.0, 115.2, 121.9, accelerator=False, kind="measured",
            precision="fp32", notes=cpu_notes, **many),
        row("Intel Core i7-12700", "8-core desktop", 41.3, 24.8, 68.7, accelerator=False, precision="fp32",
            bound="compute", notes=("Has no amp-fp16: runs fp32 instead.",), **many),
        row("NVIDIA GeForce RTX 3060", "RTX 3060", 0.71, 0.55, 0.92, bound="memory bandwidth",
            offer=offer("Vast.ai", 0.06, high=0.14), fits=False, memory=memory(11.6), **many),
        row("NVIDIA GeForce RTX 4090", "RTX 4090", 0.201, 0.157, 0.257, bound="memory bandwidth",
            offer=offer("RunPod", 0.34), fits=True, memory=memory(23.5), notes=(close,), **many),
        row("NVIDIA T4", "T4", 1.04, 0.76, 1.42, bound="compute", offer=offer("GCP", 0.35, 13), fits=False,
            memory=memory(14.6), **many),
        row("NVIDIA A100-SXM4-80GB", "A100 80GB SXM", 0.1732, 0.144, 0.2084, bound="memory bandwidth",
            offer=offer("Lambda", 14.32, 14, 8), fits=True, memory=memory(79.1, 21.9), notes=(by_eight,), **many),
        row("NVIDIA H100 80GB HBM3", "H100 SXM", 0.0999, 0.0749, 0.1331, bound="compute", offer=offer("RunPod", 2.69),
            fits=True, memory=memory(79.2, 22), **many),
        row("NVIDIA B200", "B200", 0.00095, 0.00066, 0.00137, bound="host launch", memory=memory(None), **many),
    )  # fmt: skip
    return Comparison(
        job(epochs),
        rows,
        "AMD EPYC 7B13 64-Core Processor",
        0.8,
        ("2 devices lack amp-fp16 and are left out: Tesla P100, GTX 1080 Ti.",),
    )


def without_epochs() -> Comparison:
    """A captured job whose data set nobody knows, on two GPUs, nothing measured, nothing rented."""
    summary = job(name="my <model>", samples_per_epoch=None, steps_per_epoch=None, layout="", sample="sample")
    unknown = {"epoch_s": None, "job_s": None, "usd_per_epoch": None, "usd_per_job": None}
    from dataclasses import replace

    rows = (
        replace(
            row("Some CPU", "this CPU", 0.3, 0.2, 0.4, reference_s=0.3, accelerator=False, bound="compute"), **unknown
        ),
        replace(row("NVIDIA <L4>", "<L4> & co", 0.02, 0.01, 0.04, reference_s=0.3, bound="host launch"), **unknown),
    )
    return Comparison(summary, rows, "Some CPU", 0.8, ("a | pipe and <b>bold</b>",))
