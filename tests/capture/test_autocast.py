"""Autocast on the phantom GPU casts what PyTorch's documentation of CUDA autocast says it casts."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from whichgpu.capture.autocast import cast_policies

pytestmark = pytest.mark.usefixtures("phantom")

# docs.pytorch.org/docs/stable/amp.html, "CUDA Op-Specific Behavior".
TO_HALF = ["matmul", "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot", "conv1d"]
TO_HALF += ["conv2d", "conv3d", "linear", "mm", "mv", "prelu", "gru_cell", "lstm_cell", "rnn_tanh_cell"]
TO_FLOAT = ["acos", "asin", "binary_cross_entropy_with_logits", "cosh", "cosine_embedding_loss", "cdist", "erfinv"]
TO_FLOAT += ["exp", "expm1", "group_norm", "hinge_embedding_loss", "kl_div", "l1_loss", "layer_norm", "log", "log10"]
TO_FLOAT += ["log1p", "log2", "margin_ranking_loss", "mse_loss", "multilabel_margin_loss", "nll_loss", "pdist"]
TO_FLOAT += ["poisson_nll_loss", "pow.Tensor_Scalar", "reciprocal", "rsqrt", "sinh", "smooth_l1_loss"]
TO_FLOAT += ["soft_margin_loss", "softplus", "tan", "triplet_margin_loss"]
IN_FLOAT = ["cumprod", "cumsum", "prod", "sum", "softmax.int", "log_softmax.int"]
TO_WIDEST = ["addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "grid_sampler", "index_put", "scatter_add"]
TO_WIDEST += ["tensordot"]


def test_policies_are_the_documented_ones():
    policies = cast_policies()
    assert {policies[n] for n in TO_HALF} == {"lower"}
    assert {policies[n] for n in TO_FLOAT} == {"float32"}
    assert {policies[n] for n in IN_FLOAT} == {"set_dtype"}
    assert {policies[n] for n in TO_WIDEST} == {"promote"}
    assert policies["norm.Scalar"] == "append_dtype"


def test_policies_cover_every_kernel_torch_has_for_them():
    registered = {
        name.removeprefix("aten::")
        for name in torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
        if name.startswith("aten::")
    }
    # Refused by autocast, called by torch only below it, and (CUDA builds) done by the phantom's recurrent layers.
    others = {"binary_cross_entropy", "cudnn_convolution", "cudnn_convolution_transpose", "_cudnn_rnn"}
    assert registered - set(cast_policies()) <= others
    with torch.autocast("cuda"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        functional.binary_cross_entropy(torch.rand(2, device="cuda"), torch.rand(2, device="cuda"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_result_dtypes(dtype):
    x = torch.randn(4, 4, device="cuda", requires_grad=True)
    half = x.detach().to(dtype)
    with torch.autocast("cuda", dtype=dtype):
        assert (x @ x).dtype == dtype
        assert torch.einsum("ab,bc->ac", x, x).dtype == dtype
        assert functional.linear(x, x).dtype == dtype
        assert functional.conv2d(x[None, None], x[None, None]).dtype == dtype
        assert functional.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]).dtype == dtype
        assert half.exp().dtype == torch.float32
        assert half.sum().dtype == torch.float32
        assert half.softmax(-1).dtype == torch.float32
        assert half.norm().dtype == torch.float32
        assert functional.layer_norm(half, (4,)).dtype == torch.float32
        assert functional.cross_entropy(half, torch.zeros(4, dtype=torch.long, device="cuda")).dtype == torch.float32
        assert torch.addcmul(half, half, x).dtype == torch.float32
        assert (half + half).dtype == dtype
        assert (half + x).dtype == torch.float32
        assert functional.relu(half).dtype == dtype
        assert (x.double() @ x.double()).dtype == torch.float64
        with torch.autocast("cuda", enabled=False):
            assert (x @ x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_cpu_tensors_are_left_alone():
    x = torch.ones(2, 2)
    with torch.autocast("cuda"):
        assert (x @ x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert (x.cuda() @ x.cuda()).dtype == torch.float32


def casts_of_weights(record, cache_enabled=True):
    layer = nn.Linear(8, 8, bias=False).cuda()
    x = torch.randn(2, 8, device="cuda", dtype=torch.float16)

    def step():
        with torch.autocast("cuda", cache_enabled=cache_enabled):
            out = layer(layer(layer(x)))
        out.sum().backward()

    job = record(step)
    return sum(
        op.name == "aten._to_copy.default" and op.output().shape == (8, 8)
        for op in job.graph.ops
        if op.phase == "forward"
    )


def test_a_weight_is_cast_once_in_a_region(record):
    assert casts_of_weights(record) == 1
    assert casts_of_weights(record, cache_enabled=False) == 3


def test_the_cast_weight_is_freed_after_the_region(record):
    layer = nn.Linear(64, 64, bias=False).cuda()
    x = torch.randn(2, 64, device="cuda")

    def step():
        with torch.autocast("cuda"), torch.no_grad():
            layer(x)
        torch.zeros(1, device="cuda")

    job = record(step)
    (cast,) = [op for op in job.graph.ops if op.name == "aten._to_copy.default" and op.output().shape == (64, 64)]
    assert job.graph.storages[cast.output().storage].freed_at is not None


def test_gradient_scaler_scales_checks_and_steps(record, names):
    model = nn.Linear(4, 4).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    x = torch.randn(2, 4, device="cuda")

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = model(x).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    job = record(step, precision="amp-fp16")
    found = names(job, "optimizer")
    assert found["aten._amp_foreach_non_finite_check_and_unscale_.default"] == 1
    assert found["aten._amp_update_scale_.default"] == 1
    assert found["aten._foreach_norm.Scalar"] == 1
    assert found["aten._foreach_add_.List"] == 1  # the update itself: no gradient counts as infinite
    assert found["aten._local_scalar_dense.default"] == 1
    assert scaler.get_scale() == 65536.0
    assert job.notes == ()


def test_recurrent_layers_run_in_half(record):
    layer = nn.LSTM(6, 5).cuda()
    x = torch.randn(7, 3, 6, device="cuda")

    def step():
        with torch.autocast("cuda"):
            layer(x)[0].sum().backward()

    job = record(step)
    (op,) = [op for op in job.graph.ops if op.name == "aten._cudnn_rnn.default"]
    assert {t.dtype for t in op.input_tensors()} == {"float16"}
    assert op.output().dtype == "float16"
    assert layer.weight_ih_l0.grad.dtype == torch.float32
