"""Two kernels of the kinds Inductor writes, for timing Triton's compiler: a loop with GELU, a layer norm of a sum."""

# Triton reads this source itself, and takes neither postponed annotations nor a missing module.
import triton
import triton.language as tl


@triton.jit
def loop(x, y, w, out, n, m, BLOCK: tl.constexpr):
    """(n) -> (n): GELU of a sum, scaled along its last axis of m."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:]
    inside = index < n
    total = tl.load(x + index, inside).to(tl.float32) + tl.load(y + index, inside).to(tl.float32)
    scaled = total * tl.load(w + index % m, inside)
    tl.store(out + index, scaled * 0.5 * (1 + tl.math.erf(scaled * 0.70710678)), inside)


@triton.jit
def reduction(x, y, w, out, n, m, BLOCK: tl.constexpr):
    """(n, m) -> (n, m): layer norm of a sum, in two walks along a row."""
    row = tl.program_id(0)
    first = tl.zeros([1, BLOCK], tl.float32)
    second = tl.zeros([1, BLOCK], tl.float32)
    for offset in range(0, m, BLOCK):
        column = offset + tl.arange(0, BLOCK)[None, :]
        inside = column < m
        total = tl.load(x + row * m + column, inside, other=0.0).to(tl.float32)
        total += tl.load(y + row * m + column, inside, other=0.0).to(tl.float32)
        first += total
        second += total * total
    mean = tl.sum(first, 1)[:, None] / m
    scale = tl.rsqrt(tl.sum(second, 1)[:, None] / m - mean * mean + 1e-5)
    for offset in range(0, m, BLOCK):
        column = offset + tl.arange(0, BLOCK)[None, :]
        inside = column < m
        total = tl.load(x + row * m + column, inside, other=0.0).to(tl.float32)
        total += tl.load(y + row * m + column, inside, other=0.0).to(tl.float32)
        tl.store(out + row * m + column, (total - mean) * scale * tl.load(w + column, inside), inside)
