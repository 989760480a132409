"""Layers and functions forward and backward: each runs on the phantom GPU, and every op it launches has a work rule."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, rnn

from whichgpu.work import count_graph

pytestmark = pytest.mark.usefixtures("phantom")


def floats(*shape):
    return torch.randn(*shape, device="cuda", requires_grad=True)


def places(*shape, high=6):
    return torch.randint(0, high, shape).cuda()


def recurrent(kind, **options):
    return lambda: (getattr(nn, kind)(8, 16, **options).cuda(), (floats(5, 3, 8),))


def cells(kind):
    def walk(x, cell):
        hidden = None
        for one in x:
            hidden = cell(one, hidden)
        return hidden

    return lambda: (Of(walk, getattr(nn, kind)(8, 16)), (floats(4, 3, 8),))


def packed(kind, enforce_sorted):
    def walk(x, layer):
        lengths = torch.tensor([5, 3, 2] if enforce_sorted else [3, 5, 2])
        out, _ = layer(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=enforce_sorted))
        return rnn.pad_packed_sequence(out)[0]

    return lambda: (Of(walk, getattr(nn, kind)(8, 16, bidirectional=True)), (floats(3, 5, 8),))


class Of(nn.Module):
    """A function of tensors and layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers).cuda()

    def forward(self, *tensors):
        return self.function(*tensors, *self.layers)


def of(function, *shapes, layers=()):
    return lambda: (Of(function, *(layer() for layer in layers)), tuple(floats(*shape) for shape in shapes))


def layers(*made, shape):
    return lambda: (nn.Sequential(*(make() for make in made)).cuda(), (floats(*shape),))


def graph_network(x, layer):
    source, target = places(2, 20)
    hidden = layer(x)
    message, index = hidden[source], target[:, None].expand(-1, 8)
    zeros = torch.zeros_like(hidden)
    out = zeros.index_add(0, target, message) + zeros.scatter_add(0, index, message)
    out = out + zeros.scatter_reduce(0, index, message, "mean", include_self=False)
    out = out + zeros.scatter_reduce(0, index, message, "amax") + zeros.index_reduce(0, target, message, "mean")
    degree = torch.zeros(6, device="cuda").scatter_add_(0, target, torch.ones(20, device="cuda")).pow(-0.5)
    degree[degree == float("inf")] = 0
    score = message.sum(1)
    score = (score - torch.zeros(6, device="cuda").scatter_reduce(0, target, score, "amax")[target]).exp()
    return out.index_put((target,), message * (degree[source] * degree[target] * score)[:, None], accumulate=True)


def attention(x, layer):
    mask = nn.Transformer.generate_square_subsequent_mask(5, device="cuda")
    padding = torch.zeros(2, 5, dtype=torch.bool, device="cuda")
    return layer(x, x, x, attn_mask=mask, key_padding_mask=padding)[0]


def encoder(x, layer):
    padding = torch.tensor([[False] * 5, [False] * 4 + [True]], device="cuda")
    layer.eval()
    with torch.no_grad():
        layer(x, src_key_padding_mask=padding)
    return layer.train()(x, src_key_padding_mask=padding)


def spectrogram(x):
    window = torch.hann_window(16, device="cuda")
    spectrum = torch.stft(x, 16, window=window, return_complex=True)
    return torch.istft(spectrum, 16, window=window).sum() + spectrum.abs().pow(2).sum()


def rotary(x):
    angles = torch.polar(torch.ones(8, 4, device="cuda"), torch.rand(8, 4, device="cuda"))
    pairs = torch.view_as_complex(x.reshape(2, 8, 3, 4, 2))
    return torch.view_as_real(pairs * angles[None, :, None]).flatten(3)


def sorting(x):
    order = x.sort(-1)[0] + x.gather(1, x.argsort(1)) + x.sort(descending=True, stable=True)[0]
    return order.sum() + x.topk(3, -1)[0].sum() + x.kthvalue(2, -1)[0].sum() + x.median(-1)[0].sum() + x.quantile(0.5)


def reading(x):
    unique, inverse = places(8).unique(return_inverse=True)
    kept = x[(places(4) > 2).nonzero(as_tuple=True)[0]].sum() + x[torch.where(places(4) > 3)[0]].sum()
    return kept + x.sum() * unique.numel() + inverse.sum() + places(5).bincount().sum() + x.masked_select(x > 0).sum()


def products(a, b):
    total = torch.einsum("bij,bjk->bik", a, b).sum() + torch.einsum("bii->b", a).sum() + a.matmul(b).sum()
    total = total + torch.baddbmm(a, a, b).sum() + torch.outer(a[0, 0], b[0, 0]).sum() + a[0].mv(b[0, 0]).sum()
    return total + torch.cdist(a, b).sum() + functional.bilinear(a, b, torch.randn(2, 4, 4, device="cuda")).sum()


def solvers(a):
    square = a @ a.mT + torch.eye(4, device="cuda")
    factor = torch.linalg.cholesky(square)
    total = torch.linalg.inv(square).sum() + torch.linalg.solve(square, a).sum() + torch.logdet(square).sum()
    total = total + torch.linalg.svd(a)[1].sum() + torch.linalg.eigh(square)[0].sum() + torch.linalg.qr(a)[1].sum()
    total = total + torch.linalg.matrix_exp(a).sum() + torch.linalg.solve_triangular(factor, a, upper=False).sum()
    return total + torch.cholesky_solve(a, factor).sum() + torch.linalg.det(a).sum() + torch.linalg.pinv(a).sum()


def scans(x):
    return x.cumsum(0) + x.cumprod(1) + x.logcumsumexp(1) + x.cummax(0)[0] + x.flip(0) + x.roll(1, 0) + x.triu()


def complex_numbers(a, b):
    z = torch.complex(a, b)
    return (z * z.conj()).abs() + z.angle() + z.exp().imag + (z @ z.mT).real.sum()


def draws(mean):
    from torch import distributions

    normal = distributions.Normal(mean, mean.exp())
    total = normal.rsample().sum() + distributions.Gamma(mean.exp(), mean.exp()).rsample().sum()
    total = total + distributions.Beta(mean.exp(), mean.exp()).rsample().sum()
    total = total + distributions.Dirichlet(mean.exp()).rsample().sum()
    chosen = distributions.Categorical(logits=mean)
    return total + chosen.log_prob(chosen.sample()).sum() + chosen.entropy().sum()


def losses(x):
    target = places(4, high=3)
    total = functional.cross_entropy(x, target, weight=torch.ones(3, device="cuda"), label_smoothing=0.1)
    total = total + functional.cosine_similarity(x, x * 2).sum() + functional.kl_div(x, x.detach(), reduction="sum")
    total = total + functional.smooth_l1_loss(x, x.detach()) + functional.multi_margin_loss(x, target)
    return total + functional.binary_cross_entropy_with_logits(x, torch.rand(4, 3, device="cuda"))


def ctc(x):
    lengths = torch.full((4,), 20), torch.randint(1, 6, (4,), device="cuda")
    return functional.ctc_loss(x.log_softmax(2), places(4, 6) + 1, *lengths, zero_infinity=True)


def warped(x, theta):
    grid = functional.affine_grid(theta, (2, 3, 4, 4), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def resized(mode, dims):
    return of(lambda x: functional.interpolate(x, scale_factor=2, mode=mode), (2, 3, *[4] * dims))


CASES = {
    **{f"{kind} of two layers": recurrent(kind, num_layers=2, bidirectional=True) for kind in ("RNN", "GRU", "LSTM")},
    "LSTM with projections": recurrent("LSTM", proj_size=4, dropout=0.1, num_layers=2),
    **{kind: cells(kind) for kind in ("RNNCell", "GRUCell", "LSTMCell")},
    **{f"packed {kind}": packed(kind, True) for kind in ("RNN", "GRU", "LSTM")},
    "packed LSTM, unsorted": packed("LSTM", False),
    "attention": of(attention, (2, 5, 16), layers=[lambda: nn.MultiheadAttention(16, 4, 0.1, batch_first=True)]),
    "encoder": of(
        encoder,
        (2, 5, 16),
        layers=[lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)],
    ),
    "transformer": of(lambda x, y, m: m(x, y), (5, 2, 16), (4, 2, 16), layers=[lambda: nn.Transformer(16, 4, 1, 1)]),
    "embedding of bounded norm": lambda: (nn.Embedding(10, 4, max_norm=1.0).cuda(), (places(3, 4),)),
    **{
        f"bags by {mode}": lambda mode=mode: (nn.EmbeddingBag(10, 4, mode=mode).cuda(), (places(3, 4),))
        for mode in ("sum", "mean", "max")
    },
    "weighted bags": lambda: (
        Of(lambda w, m: m(places(3, 4), per_sample_weights=w), nn.EmbeddingBag(10, 4, mode="sum")),
        (floats(3, 4),),
    ),
    "graph network": of(graph_network, (6, 8), layers=[lambda: nn.Linear(8, 8)]),
    "fft": of(lambda x: torch.fft.fft(x).abs() + torch.fft.ifft2(x).abs() + torch.fft.fftn(x).abs(), (4, 8, 8)),
    "real fft": of(lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(x), n=8), (4, 8)),
    "real fft of images": of(lambda x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho")), (4, 8, 8)),
    "spectrogram": of(spectrogram, (2, 64)),
    "rotary embedding": of(rotary, (2, 8, 3, 8)),
    "complex numbers": of(complex_numbers, (4, 3), (4, 3)),
    **{
        f"resized, {mode} in {dims}": resized(mode, dims)
        for mode, dims in (
            *(("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 2), ("linear", 1)),
            *(("bilinear", 2), ("bicubic", 2), ("trilinear", 3), ("area", 2)),
        )
    },
    "antialiased": of(lambda x: functional.interpolate(x, size=3, mode="bilinear", antialias=True), (2, 3, 8, 8)),
    "warped": of(warped, (2, 3, 8, 8), (2, 2, 3)),
    "sorting": of(sorting, (4, 8)),
    "values that decide shapes": of(reading, (4, 1)),
    "scans": of(scans, (4, 4)),
    "products": of(products, (3, 4, 4), (3, 4, 4)),
    "solvers": of(solvers, (2, 4, 4)),
    "pairs": of(lambda x: functional.pdist(x).sum() + torch.cdist(x, x, p=1).sum(), (5, 3)),
    "draws": of(draws, (4, 3)),
    "losses": of(losses, (4, 3)),
    "CTC": of(ctc, (20, 4, 12)),
    "pixels shuffled": layers(lambda: nn.PixelShuffle(2), lambda: nn.PixelUnshuffle(2), shape=(2, 4, 8, 8)),
    "unfolded": layers(lambda: nn.Unfold(2), lambda: nn.Fold((8, 8), 2), shape=(2, 4, 8, 8)),
    "layer norms": layers(lambda: nn.LayerNorm(8), lambda: nn.RMSNorm(8), shape=(2, 4, 8)),
    "synchronized norm": lambda: (
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).cuda(),
        (floats(2, 3, 8, 8),),
    ),
    "normed weights": layers(
        lambda: parametrizations.weight_norm(nn.Linear(8, 8)),
        lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
        lambda: parametrizations.orthogonal(nn.Linear(8, 8)),
        shape=(2, 8),
    ),
    **{
        f"convolutions in {d}": layers(
            lambda d=d: getattr(nn, f"Conv{d}d")(4, 8, 3, padding=1),
            lambda d=d: getattr(nn, f"Conv{d}d")(8, 8, 3, groups=8, padding="same"),
            lambda d=d: getattr(nn, f"Conv{d}d")(8, 8, 3, groups=2, dilation=2, padding=1, padding_mode="circular"),
            lambda d=d: getattr(nn, f"ConvTranspose{d}d")(8, 4, 2, stride=2),
            lambda d=d: getattr(nn, f"MaxPool{d}d")(2),
            lambda d=d: getattr(nn, f"AvgPool{d}d")(2, ceil_mode=True),
            lambda d=d: getattr(nn, f"AdaptiveAvgPool{d}d")(2),
            shape=(2, 4, *[8] * d),
        )
        for d in (1, 2, 3)
    },
    **{
        f"norms in {d}": layers(
            lambda: nn.GroupNorm(2, 4),
            lambda d=d: getattr(nn, f"InstanceNorm{d}d")(4, affine=True, track_running_stats=True),
            lambda d=d: getattr(nn, f"BatchNorm{d}d")(4),
            lambda d=d: getattr(nn, f"Dropout{d}d")(0.1),
            lambda: nn.AlphaDropout(0.1),
            lambda d=d: getattr(nn, f"ReplicationPad{d}d")(1),
            lambda d=d: getattr(nn, f"ReflectionPad{d}d")(1),
            shape=(2, 4, *[8] * d),
        )
        for d in (1, 2, 3)
    },
}


@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward(case, record):
    module, tensors = CASES[case]()
    parameters = [*module.parameters(), *(t for t in tensors if t.requires_grad)]

    def step():
        out = module(*tensors)
        out = out[0] if isinstance(out, tuple) else out
        gradients = torch.autograd.grad(out.float().square().mean(), parameters, allow_unused=True)
        assert any(g is not None for g in gradients)

    job = record(step)
    assert [count.op.name for count in count_graph(job.graph).bounded] == []


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_recurrent_layers_under_autocast(kind, record, names):
    layer, x = getattr(nn, kind)(8, 16).cuda(), floats(5, 3, 8)

    def step():
        with torch.autocast("cuda"):
            out = layer(x)[0]
        assert out.dtype == torch.float16
        out.sum().backward()

    assert names(record(step))["aten._cudnn_rnn.default"] == 1
