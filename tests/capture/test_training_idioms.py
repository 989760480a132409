"""Training steps as people write them: each runs on the phantom GPU, and every op it launches has a work rule."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from whichgpu.work import count_graph

pytestmark = pytest.mark.usefixtures("phantom")


def net():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4)).cuda()


def batch():
    return torch.randn(8, 16).cuda(), torch.randint(0, 4, (8,)).cuda()


def trained(model, optimizer, update=None, **autocast):
    x, y = batch()

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda", enabled=bool(autocast), **autocast):
            loss = functional.cross_entropy(model(x), y)
        loss.backward()
        if update is not None:
            update(model)
        optimizer.step()

    return step


def gan():
    generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.LeakyReLU(0.2, inplace=True)).cuda()
    critic = nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.3), nn.Linear(8, 1), nn.Sigmoid()).cuda()
    optimizers = [torch.optim.Adam(m.parameters(), betas=(0.5, 0.999)) for m in (generator, critic)]
    real, loss = torch.randn(8, 16).cuda(), nn.BCELoss()

    def step():
        critic.zero_grad()
        loss(critic(real), torch.ones(8, 1, device="cuda")).backward()
        fake = generator(torch.randn(8, 4, device="cuda"))
        loss(critic(fake.detach()), torch.zeros(8, 1, device="cuda")).backward()
        optimizers[1].step()
        generator.zero_grad()
        loss(critic(fake), torch.ones(8, 1, device="cuda")).backward()
        optimizers[0].step()

    return step


def gradient_penalty():
    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 1, 4)).cuda()
    optimizer = torch.optim.RMSprop(critic.parameters())
    real, fake = (torch.randn(4, 3, 16, 16, device="cuda") for _ in range(2))

    def step():
        optimizer.zero_grad()
        weight = torch.rand(4, 1, 1, 1, device="cuda")
        mixed = (weight * real + (1 - weight) * fake).requires_grad_()
        score = critic(mixed)
        (slope,) = torch.autograd.grad(score, mixed, torch.ones_like(score), create_graph=True)
        penalty = ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        (critic(fake).mean() - critic(real).mean() + 10 * penalty).backward()
        optimizer.step()
        for parameter in critic.parameters():
            parameter.data.clamp_(-0.01, 0.01)

    return step


def accumulation():
    model = net()
    optimizer, (x, y) = torch.optim.AdamW(model.parameters()), batch()

    def step():
        for _ in range(4):
            (functional.cross_entropy(model(x), y) / 4).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def lbfgs(**options):
    model = net()
    optimizer, (x, y) = torch.optim.LBFGS(model.parameters(), max_iter=3, **options), batch()

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure)


def scaled(scaler, autocast):
    model = net()
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True), batch()

    def step():
        optimizer.zero_grad()
        with autocast():
            loss = functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return step


def clipped(clip, **options):
    model = net()
    return trained(model, torch.optim.AdamW(model.parameters()), lambda m: clip(m.parameters(), 1.0, **options))


def checkpointed(**options):
    first, second = net(), nn.Linear(4, 4).cuda()
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
    x = torch.randn(8, 16, device="cuda", requires_grad=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = second(checkpoint(first, x, **options)).float().square().mean()
        loss.backward()
        optimizer.step()

    return step


def moving_average():
    model = net()
    by_hand, averages = copy.deepcopy(model).requires_grad_(False), torch.optim.swa_utils.AveragedModel(model)
    fast = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    train = trained(model, torch.optim.Adam(model.parameters()))

    def step():
        train()
        with torch.no_grad():
            for average, parameter in zip(by_hand.parameters(), model.parameters(), strict=True):
                average.lerp_(parameter, 0.01)
                average.mul_(0.99).add_(parameter.data, alpha=0.01)
        averages.update_parameters(model)
        fast.update_parameters(model)

    return step


def update_by_hand():
    weight = torch.randn(16, 4, device="cuda", requires_grad=True)
    model, (x, y) = net(), batch()

    def step():
        functional.cross_entropy(model(x) + x @ weight, y).backward()
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)
            parameter.grad = None
        with torch.no_grad():
            weight.sub_(0.1 * weight.grad)
            weight.grad.zero_()

    return step


class Scaled(torch.autograd.Function):
    """x w, with what autocast and the outer world do to it."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.t() @ x


class Reversed(torch.autograd.Function):
    """The identity, with its gradient turned around."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad):
        return -grad


def custom_functions():
    weight = nn.Parameter(torch.randn(4, 16, device="cuda"))
    x, _ = batch()

    def step():
        weight.grad = None
        with torch.autocast("cuda"):
            loss = Reversed.apply(Scaled.apply(x, weight)).sum()
        loss.backward()

    return step


def optimizer_in_backward():
    model, (x, y) = net(), batch()
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def hook(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(hook)
    return lambda: functional.cross_entropy(model(x), y).backward()


def read_back():
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)

    def step():
        optimizer.zero_grad()
        scores = model(x)
        loss = functional.cross_entropy(scores, y)
        if torch.isnan(loss):
            raise ValueError("diverged")
        loss.backward()
        optimizer.step()
        guess = scores.argmax(1)
        (guess == y).sum().item()
        guess.eq(y.view_as(guess)).float().mean().item()
        scores.topk(2, 1)[1].t().eq(y.view(1, -1).expand(2, 8)).reshape(-1).float().sum(0)
        scores.softmax(1).detach().cpu().numpy()
        guess.tolist()
        f"{loss:.3f}"
        schedule.step(loss)

    return step


def compiled():
    model = torch.compile(net(), mode="max-autotune", fullgraph=True)
    model.compile()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    double = torch.compile(lambda x: x * 2)

    @torch.compile(dynamic=False)
    def update():
        optimizer.step()

    x, y = batch()

    def step():
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        functional.cross_entropy(model(double(x)), y).backward()
        update()

    return step


def accelerated(**options):
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(**options)
    model = net()
    data = torch.utils.data.TensorDataset(torch.randn(8, 16), torch.zeros(8, dtype=torch.long))
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.AdamW(model.parameters()), torch.utils.data.DataLoader(data, batch_size=8)
    )

    def step():
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(functional.cross_entropy(model(x), y))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()

    return step


def vector_of_parameters():
    model, (x, _) = net(), batch()

    def step():
        model(x).sum().backward()
        flat = nn.utils.parameters_to_vector(model.parameters())
        nn.utils.vector_to_parameters(flat * 0.9, model.parameters())
        nn.utils.parameters_to_vector([p.grad for p in model.parameters()]).norm().item()

    return step


def per_sample_gradients():
    layer, x, y = nn.Linear(16, 4).cuda(), *batch()

    def loss(parameters, one, label):
        return functional.cross_entropy(torch.func.functional_call(layer, parameters, (one[None],)), label[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: gradients(dict(layer.named_parameters()), x, y)


IDIOMS = {
    "several optimizers": gan,
    "gradient penalty": gradient_penalty,
    "accumulated gradients": accumulation,
    "LBFGS": lbfgs,
    "LBFGS with line search": lambda: lbfgs(line_search_fn="strong_wolfe"),
    "clipped norm": lambda: clipped(nn.utils.clip_grad_norm_, error_if_nonfinite=True),
    "clipped norm, one by one": lambda: clipped(nn.utils.clip_grad_norm_, foreach=False),
    "clipped largest": lambda: clipped(nn.utils.clip_grad_norm_, norm_type=float("inf")),
    "clipped values": lambda: clipped(nn.utils.clip_grad_value_),
    "torch.amp scaler": lambda: scaled(torch.amp.GradScaler("cuda"), lambda: torch.autocast("cuda")),
    "torch.amp scaler of the default device": lambda: scaled(torch.amp.GradScaler(), lambda: torch.autocast("cuda")),
    "torch.cuda.amp": lambda: scaled(torch.cuda.amp.GradScaler(), lambda: torch.cuda.amp.autocast()),
    "reentrant checkpoint": lambda: checkpointed(use_reentrant=True),
    "checkpoint": lambda: checkpointed(use_reentrant=False),
    "checkpoint without random state": lambda: checkpointed(use_reentrant=False, preserve_rng_state=False),
    "moving averages": moving_average,
    "update by hand": update_by_hand,
    "custom functions": custom_functions,
    "optimizer in backward": optimizer_in_backward,
    "values read back": read_back,
    "torch.compile": compiled,
    "accelerate, fp16": lambda: accelerated(mixed_precision="fp16"),
    "accelerate, bf16": lambda: accelerated(mixed_precision="bf16", gradient_accumulation_steps=2),
    "vector of parameters": vector_of_parameters,
    "per-sample gradients": per_sample_gradients,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("idiom", IDIOMS)
def test_idioms(idiom, record):
    job = record(IDIOMS[idiom]())
    assert {op.name for op in job.graph.ops} & {"aten.addmm.default", "aten.mm.default", "aten.convolution.default"}
    assert [count.op.name for count in count_graph(job.graph).bounded] == []


OPTIMIZERS = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD", "Rprop", "ASGD"]


@pytest.mark.parametrize("options", [{}, {"foreach": False}, {"fused": True}], ids=["foreach", "loop", "fused"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, options, record):
    made = getattr(torch.optim, name)
    if "fused" in options and "fused" not in made.__init__.__code__.co_varnames:
        pytest.skip(f"{name} has no fused form")
    model = net()
    job = record(trained(model, made(model.parameters(), lr=0.1, **options)))
    updates = [op for op in job.graph.ops if op.phase == "optimizer"]
    assert updates
    way = "_foreach_" if not options else "_fused_" if "fused" in options else "."
    assert any(way in op.name for op in updates)
    assert options != {"foreach": False} or not any("_foreach_" in op.name for op in updates)
    assert [count.op.name for count in count_graph(job.graph).bounded] == []


def test_steps_accumulated_are_all_there(record, names):
    assert names(record(accumulation()))["aten.addmm.default"] == 8


def test_a_checkpoint_computes_twice(record, names):
    # A net of two layers that is checkpointed, and one layer that is not. Without reentrance the second pass stops
    # when everything backward needs is there, which is before the last product.
    again = {reentrant: names(record(checkpointed(use_reentrant=reentrant))) for reentrant in (True, False)}
    assert again[True]["aten.addmm.default"] == 2 * 2 + 1
    assert again[False]["aten.addmm.default"] == 2 + 1 + 1


def test_autocast_nested_and_off():
    layer, x = nn.Linear(16, 16).cuda(), batch()[0]
    with torch.autocast("cuda", torch.bfloat16):
        low = layer(x)
        with torch.autocast("cuda", enabled=False):
            plain = layer(low.float())
        with torch.autocast("cuda", torch.float16):
            half = layer(plain)
        lengths = (
            functional.pairwise_distance(half, half),
            half.norm(2, 1),
            half.norm(dim=-1, keepdim=True),
            half.norm(),
        )
    assert (low.dtype, plain.dtype, half.dtype) == (torch.bfloat16, torch.float32, torch.float16)
    assert {t.dtype for t in lengths} == {torch.float32}


def test_a_model_used_on_the_cpu_can_move():
    layer = nn.Linear(4, 4)
    before = layer(torch.randn(2, 4))
    normed = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.utils.spectral_norm(nn.Linear(4, 4)))
    for module in (layer, normed):
        module.cuda()
        module(torch.randn(2, 4, device="cuda")).sum().backward()
        assert all(p.grad is not None and p.grad.is_cuda for p in module.parameters())
    assert before.device.type == "cpu"


def test_second_derivatives_of_cudnn_are_refused_as_torch_does():
    layer, x = nn.LSTM(4, 8).cuda(), torch.randn(5, 2, 4, device="cuda", requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="Double backwards is not supported for CuDNN"):
        slope.square().sum().backward()
