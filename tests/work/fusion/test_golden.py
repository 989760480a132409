"""What small modules are compiled to, by hand; torch 2.13's own scheduler, on a GPU that was not there, said the same.

`python -m benchmarks.inductor_kernels` asks it.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.work.fusion.captured import captured, launched

F32 = 4


class Block(nn.Module):
    """A transformer block without dropout: attention of 12 heads and a feed-forward layer, each after a norm."""

    def __init__(self, width=768, heads=12):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (
            t.view(b, n, self.heads, c // self.heads).transpose(1, 2)
            for t in self.qkv(self.before_attention(x)).split(c, 2)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, n, c)
        x = x + self.out(y)
        return x + self.down(functional.gelu(self.up(self.before_feed_forward(x))))


class CrossEntropy(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(256, 5000)

    def forward(self, x):
        return functional.cross_entropy(self.head(x), torch.zeros(x.shape[0], dtype=torch.int64, device=x.device))


def mlp():
    return nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256))


def convolution():
    return nn.Sequential(nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU())


def test_a_bias_leaves_the_product_where_a_loop_reads_it():
    # Product, GELU with the first bias, product with the second bias.
    ((numbers, moved),) = launched(captured(mlp, (512, 256)))
    assert numbers == (1, 0, 2)
    assert moved == 2 * 512 * 1024 * F32 + 1024 * F32


def test_mlp_in_training():
    forward, backward = launched(captured(mlp, (512, 256), train=True))
    # GELU alone: its input is saved, so the product with bias is one call.
    assert forward == ((1, 0, 2), 2 * 512 * 1024 * F32)
    # GELU's gradient; each bias a sum in two steps; both weights and one input.
    numbers, moved = backward
    assert numbers == (1, 4, 3)
    sums = (512 * 1024 + 512 * 256 + 1024 + 256) * F32 + 2 * 4 * (1024 + 256) * F32
    assert moved == 3 * 512 * 1024 * F32 + sums


def test_layer_norm():
    n, rows = 4096 * 768 * F32, 4096 * F32
    forward, backward = launched(captured(lambda: nn.LayerNorm(768), (4096, 768), train=True))
    # The input, two parameters, the output, and two statistics a row.
    assert forward[0] == (0, 1, 0)
    assert forward[1] == pytest.approx(2 * n + 2 * rows, rel=0.01)
    # Nobody asks for the gradient of the input: both parameters' sums, in two steps, which share what they read.
    assert backward[0] == (0, 3, 0)
    assert backward[1] == pytest.approx(2 * n, rel=0.03)


def test_softmax_cross_entropy():
    logits = 4096 * 5000 * F32
    forward, backward = launched(captured(CrossEntropy, (4096, 256), train=True))
    # Largest and sum of every row by one kernel; the targets' own logits and their sum by another or two.
    assert forward[0][0] == 0 and forward[0][1] in (2, 3) and forward[0][2] == 1
    assert forward[1] == pytest.approx(logits, rel=0.01)
    # The gradient of the logits, from the logits; then that of the bias, in two steps, and of the weight.
    assert backward[0] == (0, 3, 1)
    assert backward[1] == pytest.approx(3 * logits, rel=0.01)


def test_convolution_norm_and_activation_in_evaluation():
    ((numbers, moved),) = launched(captured(convolution, (32, 64, 56, 56)))
    # The network is turned: image and weight are copied to lie channels_last. Norm and ReLU are one loop.
    image, weight, out = 32 * 64 * 56 * 56, 128 * 64 * 9, 32 * 128 * 56 * 56
    assert numbers == (3, 0, 1)
    assert moved == (2 * image + 2 * weight + 2 * out + 4 * 128) * F32


def test_convolution_norm_and_activation_in_training():
    forward, backward = launched(captured(convolution, (32, 64, 56, 56), train=True))
    image, weight, out = 32 * 64 * 56 * 56 * F32, 128 * 64 * 9 * F32, 32 * 128 * 56 * 56 * F32
    # Copies of image and weight, statistics in steps, norm and ReLU with the signs backward asks for: a byte each.
    assert (forward[0][0], forward[0][2]) == (3, 1)
    assert forward[0][1] in (2, 3)
    assert forward[1] == pytest.approx(2 * (image + weight) + 3 * out + out / F32, rel=0.02)
    # Two sums share a kernel, their second steps another or two; a loop makes the convolution's gradient.
    assert (backward[0][0], backward[0][2]) == (1, 1)
    # Gradient, signs and input of the norm, twice; the result.
    assert backward[1] == pytest.approx(2 * (2 * out + out / F32) + out, rel=0.02)


def test_transformer_block_under_autocast():
    ((numbers, moved),) = launched(captured(Block, (8, 1024, 768), autocast=torch.float16))
    x = 8 * 1024 * 768
    # A norm each; GELU; the last sum; four weights and four biases converted. Products and attention are calls.
    assert numbers == (10, 2, 5)
    weights = 12 * 768 * 768 * (F32 + 2)
    norms = x * (F32 + 2) + x * (F32 + 2 + 2)
    rest = 4 * x * (2 + 2) + x * (F32 + 2 + 2 + F32)
    assert moved == pytest.approx(weights + norms + rest, rel=0.001)


def test_transformer_block_in_training():
    x = 8 * 1024 * 768 * F32
    forward, backward = launched(captured(Block, (8, 1024, 768), train=True))
    # Two norms, GELU, the last sum.
    assert forward[0] == (2, 2, 5)
    # One norm reads the input, the other the input and what attention adds; their outputs; statistics are small.
    assert forward[1] == pytest.approx(2 * x + 3 * x + 2 * 4 * x + 4 * x, rel=0.01)
    assert backward[0][2] == 9
    # GELU's gradient (12 x), those of queries, keys and values joined (6 x); the second norm's, whose sums along rows
    # and along columns share a kernel (5 x), the first one's, whose input has none (4 x); biases (4 + 3 + 1 x).
    assert backward[0][:2] == (2, 13)
    assert backward[1] == pytest.approx((12 + 6 + 5 + 4 + 8) * x, rel=0.01)
