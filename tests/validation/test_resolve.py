"""Rows become what was measured, or a reason why not."""

import pytest

from tests.validation.conftest import BERT, BMM, COMMON, KERNELS, MEDIANS, TIMM
from whichgpu.graph import Tensor
from whichgpu.references import Reference
from whichgpu.validation import Case, Unresolved, load_rows
from whichgpu.validation.resolve import sample_shape, torch_version
from whichgpu.work import count_op


def only(write, header, line):
    (found,) = load_rows([write(header, line)])
    return found


def test_a_run_of_timm(write):
    case = only(write, COMMON, TIMM)
    assert isinstance(case, Case)
    assert case.device.name == "NVIDIA GeForce RTX 3090"
    assert case.job == Reference("timm:resnet18", "train", "amp-fp16", "autocast", "nchw", (3, 224, 224), torch_major=1)
    assert (case.batch, case.compiled, case.torch) == (256, False, (1, 12))
    assert case.measured_s == pytest.approx(0.128)


def test_torch_2_fuses_attention(write):
    case = only(write, COMMON, TIMM.replace("1.12", "2.1.0").replace("train", "infer").replace(",0,256", ",1,256"))
    assert (case.job.torch_major, case.job.task, case.compiled) == (2, "infer", True)


def test_medians_give_the_time_of_a_step(write):
    case = only(write, MEDIANS, BERT)
    assert case.measured_s == pytest.approx(16 / 40)
    assert (case.precision.name, case.job.precision) == ("tf32", "fp32")  # one trace for both
    assert case.job.sample == (384,)


def test_pure_half_precision_of_nvidias_examples_keeps_master_weights(write):
    case = only(
        write, MEDIANS, BERT.replace("bert_large_squad,tf32", "resnet50_v1.5,fp16").replace("seq 384", "3x224x224")
    )
    assert (case.job.recipe, case.job.precision, case.job.layout) == ("o2", "amp-fp16", "nchw")


def test_tokens_a_second_are_turned_into_steps(write):
    case = only(write, MEDIANS, BERT.replace("seq/s", "tok/s").replace("40.0", "6144"))
    assert case.measured_s == pytest.approx(16 * 384 / 6144)


def test_a_kernel(write):
    case = only(write, KERNELS, BMM)
    assert case.job is None
    assert not case.precision.convolution_tf32
    assert case.op.output() == Tensor((8, 128, 64), "float32")
    assert count_op(case.op).flops == 2 * 8 * 128 * 64 * 256
    assert case.measured_s == pytest.approx(0.25e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("RTX 3090,1", "RTX 3090,8"), "more than one device"),
        (("RTX 3090", "RTX 3091"), "no device file has RTX 3091"),
        (("timm:resnet18", "axolotl:llama"), "no definition of axolotl:llama"),
        (("amp-fp16", ""), "no precision is given"),
        (("amp-fp16", "int4"), "no such precision is known: int4"),
        ((",256,", ",,"), "no batch is given"),
        (("nchw", "chwn"), "no such layout is known: chwn"),
        (("2000.0,img/s,128.0", ",img/s,"), "no time is given"),
        (("2000.0,img/s,128.0", "2000.0,mol/ms,"), "a throughput in mol/ms says nothing of steps"),
        (("timm,somewhere", "mlperf,somewhere"), "mlperf: a tuned submission, no plain step"),
    ],
)
def test_what_cannot_be_resolved_says_why(write, change, reason):
    found = only(write, COMMON, TIMM.replace(*change))
    assert isinstance(found, Unresolved)
    assert found.reason == reason


@pytest.mark.parametrize(("layout", "torch"), [("nchw", "1.12"), ("nhwc", "2.4")])
def test_norms_that_were_not_torchs_own_matter_on_channels_innermost(write, layout, torch):
    row = TIMM.replace("timm:resnet18", "timm:tresnet_m")
    early = only(write, COMMON, row.replace("nchw", "nhwc"))
    assert early.reason.startswith("its norms were kernels of inplace_abn")
    assert isinstance(only(write, COMMON, row.replace("nchw", layout).replace("1.12", torch)), Case)


def test_a_kernel_without_its_sizes(write):
    found = only(write, KERNELS, BMM.replace(",256,", ",,"))
    assert isinstance(found, Unresolved)
    assert found.reason == "sizes of the kernel are missing"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("3x224x224", (3, 224, 224)),
        ("3x800x1333 (COCO, variable)", (3, 800, 1333)),
        ("seq 512", (512,)),
        ("tgt_len 192 mem_len 192", (192,)),
        ("MovieLens-20M", ()),
        ("", ()),
    ],
)
def test_shapes_of_samples(text, shape):
    assert sample_shape(text) == shape


@pytest.mark.parametrize(("text", "version"), [("1.9.0a0+df837d0", (1, 9)), ("2.4.0", (2, 4)), ("", None)])
def test_versions(text, version):
    assert torch_version(text) == version


DLE = (
    "nvidia-dle,README,A100 SXM4 80GB,1,pytorch,,,train,nv-dle:PyTorch/{folder},{precision},,,64,,,{rate},{unit},{step}"
    ",,,{notes}"
)
FIELDS = ("folder", "precision", "rate", "unit", "step", "notes")


@pytest.mark.parametrize(
    ("row", "name", "recipe", "torch", "layout", "measured_s"),
    [
        (
            ("Transformer-XL", "amp-fp16", 64_000, "tok/s", "", "> Large model; container=pytorch-20.06-py3"),
            "nv:transformerxl_large_adaptive",
            "o2",
            (1, 6),
            "",
            64 * 384 / 64_000,
        ),
        (("BERT", "tf32", 64, "seq/s", 1000, "> Fine-tuning"), "nv:bert_large_squad", "autocast", None, "", 1.0),
        (
            ("SSD", "amp-fp16", 640, "img/s", 100, "container=pytorch-22.10-py3"),
            "nv:ssd300_resnet50",
            "autocast-scaled",
            (1, 13),
            "channels_last",
            0.1,
        ),
        # A pair of sentences counts 54 tokens.
        (("GNMT", "fp32", 5400, "tok/s", "", "container=pytorch-20.06-py3"), "nv:gnmt", "autocast", (1, 6), "", 0.64),
    ],
)
def test_tables_of_nvidias_examples(write, row, name, recipe, torch, layout, measured_s):
    case = only(write, COMMON, DLE.format(**dict(zip(FIELDS, row, strict=True))))
    assert (case.job.name, case.job.recipe, case.torch, case.job.layout) == (name, recipe, torch, layout)
    assert case.measured_s == pytest.approx(measured_s)


def test_steps_that_add_up_gradients_are_no_single_steps(write):
    line = DLE.format(folder="BERT", precision="tf32", rate=64, unit="seq/s", step="", notes="> Pre-training")
    assert only(write, COMMON, line).reason == "no definition of nv-dle:PyTorch/BERT"
