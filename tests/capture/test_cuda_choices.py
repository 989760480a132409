"""The phantom GPU launches what CUDA launches where CPU and CUDA differ.

What CUDA launches is documented by PyTorch: fused dropout and cuDNN batch norm and recurrent layers (ATen/native), the
choice among fused attention kernels (torch.nn.functional.scaled_dot_product_attention), foreach optimizers by default
(torch.optim), half-to-float softmax.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

pytestmark = pytest.mark.usefixtures("phantom")


def forward_backward(module, *shape, dtype=torch.float32):
    module = module.cuda()
    x = torch.randn(*shape, device="cuda", dtype=dtype, requires_grad=True)

    def step():
        out = module(x)
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return step


def test_cudnn_attention_where_it_is_wanted_alone(record, names):
    def step():
        q = torch.randn(2, 4, 64, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.CUDNN_ATTENTION):
            functional.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()

    found = names(record(step))
    assert found["aten._scaled_dot_product_cudnn_attention.default"] == 1
    assert found["aten._scaled_dot_product_cudnn_attention_backward.default"] == 1


def test_dropout_is_one_fused_op(record, names):
    found = names(record(forward_backward(nn.Dropout(0.3), 4, 4)))
    assert found["aten.native_dropout.default"] == 1
    assert found["aten.native_dropout_backward.default"] == 1
    assert found["aten.bernoulli_.float"] == 0


def test_dropout_that_does_nothing(record, names):
    for layer in (nn.Dropout(0.3).eval(), nn.Dropout(0.0)):
        found = names(record(forward_backward(nn.Sequential(nn.ReLU(), layer, nn.ReLU()), 4, 4)))
        assert found["aten.native_dropout.default"] == found["aten.clone.default"] == 0
        with torch.inference_mode():
            assert names(record(lambda layer=layer: layer(torch.ones(4, device="cuda"))))["aten.clone.default"] == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "op"),
    [
        (torch.float32, (8, 4, 5, 5), "cudnn_batch_norm"),
        (torch.float16, (8, 4, 5, 5), "cudnn_batch_norm"),
        (torch.bfloat16, (8, 4, 5, 5), "native_batch_norm"),
        (torch.float32, (8, 4), "native_batch_norm"),
    ],
)
def test_batch_norm(record, names, dtype, shape, op):
    layer = nn.BatchNorm2d(4) if len(shape) == 4 else nn.BatchNorm1d(4)
    found = names(record(forward_backward(layer, *shape, dtype=dtype)))
    assert found[f"aten.{op}.default"] == 1
    assert found[f"aten.{op}_backward.default"] == 1


def test_batch_norm_keeps_channels_last(record):
    layer = nn.BatchNorm2d(4).cuda()
    x = torch.randn(2, 4, 3, 3, device="cuda").to(memory_format=torch.channels_last).requires_grad_()
    job = record(lambda: layer(x).sum().backward())
    (op,) = [op for op in job.graph.ops if op.name == "aten.cudnn_batch_norm.default"]
    assert op.tensor("input").is_channels_last
    assert op.output().is_channels_last


def test_operators_with_a_cuda_kernel_stay_whole(record, names):
    found = names(record(forward_backward(nn.Sequential(nn.SiLU(), nn.Mish(), nn.RMSNorm(8)), 4, 8)))
    for op in ("silu_backward", "mish_backward", "_fused_rms_norm", "_fused_rms_norm_backward"):
        assert found[f"aten.{op}.default"] == 1, op


def test_softmax_of_half_converts_on_the_fly(record, names):
    x = torch.randn(4, 8, device="cuda", dtype=torch.float16)
    job = record(lambda: functional.softmax(x, -1, dtype=torch.float32))
    assert names(job) == {"aten._softmax.default": 1}
    assert job.graph.ops[0].attributes["half_to_float"] is True
    in_bfloat16 = x.to(torch.bfloat16)
    found = names(record(lambda: functional.softmax(in_bfloat16, -1, dtype=torch.float32)))
    assert found == {"aten._to_copy.default": 1, "aten._softmax.default": 1}


FLASH, EFFICIENT, MATH = "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "bmm"


@pytest.mark.parametrize(
    ("dtype", "heads", "width", "options", "op"),
    [
        (torch.float16, (4, 4), 64, {}, FLASH),
        (torch.bfloat16, (4, 4), 64, {"is_causal": True}, FLASH),
        (torch.bfloat16, (4, 2), 64, {"enable_gqa": True}, FLASH),
        (torch.float16, (4, 4), 20, {}, FLASH),
        (torch.float32, (4, 4), 64, {}, EFFICIENT),
        (torch.float16, (4, 4), 512, {}, EFFICIENT),
        (torch.float16, (4, 4), 64, {"attn_mask": torch.bool}, EFFICIENT),
        (torch.bfloat16, (4, 4), 64, {"attn_mask": torch.bfloat16}, EFFICIENT),
        (torch.float32, (4, 2), 64, {"enable_gqa": True}, MATH),
        (torch.float32, (4, 4), 63, {}, MATH),
        (torch.float64, (4, 4), 64, {}, MATH),
    ],
)
def test_attention_kernel(record, names, dtype, heads, width, options, op):
    query = torch.randn(2, heads[0], 16, width, device="cuda", dtype=dtype, requires_grad=True)
    key = torch.randn(2, heads[1], 16, width, device="cuda", dtype=dtype, requires_grad=True)
    options = dict(options)
    if "attn_mask" in options:
        options["attn_mask"] = torch.ones(16, 16, device="cuda", dtype=options["attn_mask"])

    def step():
        functional.scaled_dot_product_attention(query, key, key, dropout_p=0.1, **options).sum().backward()

    found = names(record(step))
    kernels = {k for k in (FLASH, EFFICIENT, MATH) if found[f"aten.{k}.default"]}
    assert kernels == {op}
    if op != MATH:
        assert found[f"aten.{op}_backward.default"] == 1


def test_attention_can_be_told_which_kernel(record, names):
    q = torch.randn(1, 2, 8, 64, device="cuda", dtype=torch.float16)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION):
        found = names(record(lambda: functional.scaled_dot_product_attention(q, q, q)))
    assert found == {f"aten.{EFFICIENT}.default": 1}


@pytest.mark.parametrize(
    ("layer", "mode", "gates"),
    [
        (nn.LSTM(6, 5, num_layers=2, dropout=0.5), 2, 4),
        (nn.LSTM(6, 5, bidirectional=True, batch_first=True), 2, 4),
        (nn.LSTM(6, 5, proj_size=3), 2, 4),
        (nn.GRU(6, 5), 3, 3),
        (nn.RNN(6, 5), 1, 1),
        (nn.RNN(6, 5, nonlinearity="relu", bias=False), 0, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_layer_is_one_cudnn_op(record, names, layer, mode, gates):
    expected = layer(torch.zeros(7, 3, 6))[0].shape
    weights = [tuple(p.shape) for p in layer.parameters()]
    job = record(forward_backward(layer, 7, 3, 6))
    found = names(job)
    assert found["aten._cudnn_rnn.default"] == found["aten._cudnn_rnn_backward.default"] == 1
    assert not any("mm" in name for name in found)
    (op,) = [op for op in job.graph.ops if op.name == "aten._cudnn_rnn.default"]
    assert op.attributes["mode"] == mode
    assert op.output().shape == expected
    assert [t.shape for t in op.tensors("weight")] == weights
    assert op.tensors("weight")[0].shape[0] == gates * 5
    assert [p.grad.shape for p in layer.parameters()] == weights


def test_packed_sequences_go_to_cudnn(record, names):
    layer = nn.LSTM(6, 5).cuda()
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(7, 3, 6, device="cuda"), torch.tensor([7, 4, 2]))
    job = record(lambda: layer(packed)[0].data.sum().backward())
    (op,) = [op for op in job.graph.ops if op.name == "aten._cudnn_rnn.default"]
    assert op.attributes["batch_sizes"] == (3, 3, 2, 2, 1, 1, 1)
    assert op.output().shape == (13, 5)


OPTIMIZERS = [
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {"amsgrad": True}),
    (torch.optim.Adadelta, {}),
    (torch.optim.RMSprop, {}),
    (torch.optim.Adagrad, {}),
    (torch.optim.NAdam, {}),
    (torch.optim.RAdam, {}),
]


def training_step(optimizer, **options):
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5))).cuda()
    made = optimizer(model.parameters(), lr=1e-3, **options)
    x = torch.randn(2, 4, device="cuda")

    def step():
        made.zero_grad()
        model(x).sum().backward()
        made.step()

    return step


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_optimizers_take_all_parameters_at_once(record, optimizer, options):
    job = record(training_step(optimizer, **options))
    update = [op for op in job.graph.ops if op.phase == "optimizer"]
    assert update
    assert all(op.name.startswith("aten._foreach_") for op in update)
    assert all(len(op.tensors("self")) == 10 for op in update)


@pytest.mark.parametrize(
    ("optimizer", "op"),
    [
        (torch.optim.SGD, "_fused_sgd_"),
        (torch.optim.Adam, "_fused_adam_"),
        (torch.optim.AdamW, "_fused_adamw_"),
    ],
)
def test_fused_optimizers(record, names, optimizer, op):
    found = names(record(training_step(optimizer, fused=True)), "optimizer")
    assert {n.rsplit(".", 1)[0] for n in found} <= {f"aten.{op}", "aten._foreach_add_"}
    assert sum(n for name, n in found.items() if op in name) == 1


def test_looped_optimizer_when_asked(record, names):
    found = names(record(training_step(torch.optim.SGD, foreach=False)), "optimizer")
    assert found == {"aten.add_.Tensor": 10}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_runs_the_forward_twice(record, names, use_reentrant):
    block = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 8)).cuda()
    x = torch.randn(4, 8, device="cuda", requires_grad=True)

    def step(checkpointed):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            out = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=use_reentrant) if checkpointed else block(x)
        out.sum().backward()

    plain = names(record(lambda: step(checkpointed=False)))
    job = record(lambda: step(checkpointed=True))
    found = names(job)
    for op in ("gelu", "native_dropout"):
        assert found[f"aten.{op}.default"] == 2 * plain[f"aten.{op}.default"], op
    # Without reentrance torch stops recomputing once it has the last tensor backward needs: before the last layer.
    assert found["aten.addmm.default"] == (4 if use_reentrant else 3)
    for op in ("mm", "gelu_backward", "native_dropout_backward"):
        assert found[f"aten.{op}.default"] == plain[f"aten.{op}.default"], op
    recomputed = [op for op in job.graph.ops if op.name == "aten.gelu.default"]
    assert [op.phase for op in recomputed] == ["forward", "backward"]
    assert [op.module for op in recomputed] == ["1", "1"]


def test_ctc_loss(record, names):
    logits = torch.randn(50, 4, 20, device="cuda", requires_grad=True)
    targets = torch.randint(1, 20, (4, 30), device="cuda")
    lengths = torch.full((4,), 50), torch.tensor([30, 10, 20, 15])

    def step():
        functional.ctc_loss(logits.log_softmax(-1), targets, *lengths).backward()

    job = record(step)
    assert names(job)["aten._ctc_loss.default"] + names(job)["aten._ctc_loss.Tensor"] == 1
    (op,) = [op for op in job.graph.ops if op.base_name == "aten._ctc_loss"]
    assert [t.shape for t in op.outputs] == [(4,), (4, 50, 61)]
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize(("cell", "op"), [(nn.LSTMCell(6, 5), "lstm"), (nn.GRUCell(6, 5), "gru")])
def test_recurrent_cells_have_one_fused_kernel(record, names, cell, op):
    found = names(record(forward_backward(cell, 3, 6)))
    assert found[f"aten._thnn_fused_{op}_cell.default"] == 1
    assert sum(n for name, n in found.items() if f"_thnn_fused_{op}_cell_backward" in name) == 1
    assert cell.weight_hh.grad.shape == cell.weight_hh.shape
