"""Work rules against counts from outside: by hand, or by walking through the textbook algorithm."""

import pytest

from whichgpu.graph import Op, Tensor
from whichgpu.work import count_op


def tensor(*shape, dtype="float32"):
    return Tensor(shape, dtype)


def op(name, outputs, attributes=None, **inputs):
    outs = outputs if isinstance(outputs, tuple) else (outputs,)
    return Op(name, inputs, outs, attributes or {})


def cholesky(n):
    """Count what the loops of a Cholesky factorization compute."""
    flops = 0
    for j in range(n):
        flops += 2 * j + 1  # the diagonal: j products and differences, a root
        flops += (n - j - 1) * (2 * j + 1)  # below it: as many, a quotient each
    return flops


def lu(m, n):
    flops = 0
    for k in range(min(m, n)):
        flops += (m - k - 1) + 2 * (m - k - 1) * (n - k - 1)
    return flops


def triangular(n, sides):
    return sides * sum(2 * row + 1 for row in range(n))


A = tensor(2, 96, 96)
B = tensor(2, 96, 10)
FACTORIZATIONS = [
    (op("aten.linalg_cholesky_ex.default", (A, tensor(2)), self=A), 2 * cholesky(96)),
    (op("aten.linalg_lu_factor_ex.default", (A, tensor(2, 96), tensor(2)), A=A), 2 * lu(96, 96)),
    (op("aten.linalg_lu_factor_ex.default", (tensor(300, 60), tensor(60)), A=tensor(300, 60)), lu(300, 60)),
    (op("aten._linalg_slogdet.default", (tensor(2), tensor(2), A, tensor(2, 96)), A=A), 2 * lu(96, 96)),
    (op("aten.linalg_solve_triangular.default", B, self=A, B=B), 2 * triangular(96, 10)),
    (op("aten.cholesky_solve.default", B, self=B, input2=A), 4 * triangular(96, 10)),
    (op("aten.linalg_lu_solve.default", B, LU=A, pivots=tensor(2, 96), B=B), 4 * triangular(96, 10)),
    (op("aten._linalg_solve_ex.default", (B, A), A=A, B=B), 2 * lu(96, 96) + 4 * triangular(96, 10)),
]


@pytest.mark.parametrize(("call", "expected"), FACTORIZATIONS, ids=lambda v: getattr(v, "name", None))
def test_factorizations_follow_their_loops(call, expected):
    # Textbooks leave out terms of lower order, a few percent at this size.
    assert count_op(call).flops == pytest.approx(expected, rel=0.05)


# name, outputs, inputs, attributes, FLOPs and, where one kernel or all passes are plain, bytes counted by hand
C = "complex64"
BY_HAND = [
    # 1024 points, 10 stages of 5 FLOPs each, 3 rows; 8 bytes in and out
    (
        "aten._fft_c2c.default",
        tensor(3, 1024, dtype=C),
        {"self": tensor(3, 1024, dtype=C)},
        {"dim": (1,)},
        153_600,
        49_152,
    ),
    # half of it for real input; 4 x 1024 bytes in, 8 x 513 out, a row
    ("aten._fft_r2c.default", tensor(3, 513, dtype=C), {"self": tensor(3, 1024)}, {"dim": (1,)}, 76_800, 24_600),
    ("aten._fft_c2r.default", tensor(3, 1024), {"self": tensor(3, 513, dtype=C)}, {"dim": (1,)}, 76_800, 24_600),
    # two dimensions of 32 are as many points, in two passes
    (
        "aten._fft_c2c.default",
        tensor(32, 32, dtype=C),
        {"self": tensor(32, 32, dtype=C)},
        {"dim": (0, 1)},
        51_200,
        32_768,
    ),
    # 2^13 points do not fit on the chip: two passes
    ("aten._fft_c2c.default", tensor(8192, dtype=C), {"self": tensor(8192, dtype=C)}, {"dim": (0,)}, 532_480, 262_144),
    # 4 x 5 pairs of points of 3 coordinates, 3 FLOPs each
    ("aten._cdist_forward.default", tensor(4, 5), {"x1": tensor(4, 3), "x2": tensor(5, 3)}, {"p": 1.0}, 180, 188),
    # 10 pairs among 5 points
    ("aten._pdist_forward.default", tensor(10), {"self": tensor(5, 3)}, {"p": 2.0}, 90, 100),
    # a sum of products and differences for each of 7 vectors: 9 FLOPs
    ("aten.linalg_cross.default", tensor(7, 3), {"self": tensor(7, 3), "other": tensor(7, 3)}, {}, 63, 252),
    # nn.Bilinear(6, 4, 2) on 3 rows: 3 x 2 x 6 x 4 places
    (
        "aten._trilinear.default",
        tensor(3, 2),
        {"i1": tensor(3, 6), "i2": tensor(2, 6, 4), "i3": tensor(3, 4)},
        {"expand1": (1, 3), "expand2": (0,), "expand3": (1, 2), "sumdim": (2, 3), "unroll_dim": 1},
        288,
        4 * (18 + 48 + 12 + 6),
    ),
    # 8 rows of 4 elements weighed by 8 numbers: a product and a sum each
    (
        "aten._embedding_bag_per_sample_weights_backward.default",
        tensor(8),
        {"grad": tensor(3, 4), "weight": tensor(10, 4), "indices": tensor(8, dtype="int64")},
        {},
        64,
        8 * 4 * 4 + 3 * 4 * 4 + 64 + 32,
    ),
    # scale, round, two bounds, scale back, and the mask of a byte
    (
        "aten.fake_quantize_per_tensor_affine_cachemask.default",
        (tensor(10), tensor(10, dtype="bool")),
        {"self": tensor(10)},
        {},
        60,
        90,
    ),
    # 64 rows by 96 packed rows of 128: unpacked (6,144 bytes and 192 scales in, 24,576 out), then multiplied
    (
        "bitsandbytes.gemm_4bit.default",
        tensor(64, 96, dtype="bfloat16"),
        {
            "A": tensor(64, 128, dtype="bfloat16"),
            "B": tensor(6144, 1, dtype="uint8"),
            "absmax": tensor(192),
        },
        {"shapeB": (96, 128), "blocksize": 64},
        2 * 96 * 128 + 2 * 64 * 96 * 128,
        6144 + 768 + 24_576 + 16_384 + 24_576 + 12_288,
    ),
    # 2 rows: the kernel of the product unpacks
    (
        "bitsandbytes.gemm_4bit.default",
        tensor(2, 96, dtype="bfloat16"),
        {"A": tensor(2, 128, dtype="bfloat16"), "B": tensor(6144, 1, dtype="uint8"), "absmax": tensor(192)},
        {"shapeB": (96, 128), "blocksize": 64},
        2 * 2 * 96 * 128,
        512 + 6144 + 768 + 384,
    ),
    # sums of 64 x 96 in int32, then scaled by 64 and 96 numbers
    (
        "bitsandbytes.int8_scaled_mm.default",
        tensor(64, 96, dtype="float16"),
        {
            "A": tensor(64, 128, dtype="int8"),
            "B": tensor(96, 128, dtype="int8"),
            "row_stats": tensor(64),
            "col_stats": tensor(96),
        },
        {},
        2 * 64 * 96 * 128 + 2 * 64 * 96,
        8192 + 12_288 + 24_576 + 24_576 + 640 + 12_288,
    ),
    # Adam over 4,096 weights, its moments in bytes: 30 FLOPs, 20 more for packing
    (
        "bitsandbytes.optimizer_update_8bit_blockwise.default",
        (),
        {
            "g": tensor(4096),
            "p": tensor(4096),
            **{f"state{i}": tensor(4096, dtype="uint8") for i in (1, 2)},
            **{f"absmax{i}": tensor(16) for i in (1, 2)},
            **{f"qmap{i}": tensor(256) for i in (1, 2)},
        },
        {},
        50 * 4096,
        2 * 16_384 + 16_384 + 4 * 4096 + 4 * 64 + 2 * 1024,
    ),
    # 1,000 elements of (100, 80) in rows times (80, 16): ends, columns, values and a row for each; zeros copied first
    (
        "aten._sparse_addmm.default",
        tensor(100, 16),
        {
            "self": tensor(100, 16),
            "crow_indices": tensor(101, dtype="int64"),
            "col_indices": tensor(1000, dtype="int64"),
            "values": tensor(1000),
            "mat2": tensor(80, 16),
        },
        {"beta": 0},
        32_000,
        2 * 6400 + 808 + 8000 + 4000 + 64_000 + 6400,
    ),
    # by coordinates: rows, their ends and columns in int32; zeros; the result into columns and back
    (
        "aten._sparse_addmm.default",
        tensor(100, 16),
        {
            "self": tensor(100, 16),
            "indices": tensor(2, 1000, dtype="int64"),
            "values": tensor(1000),
            "mat2": tensor(80, 16),
        },
        {"beta": 0},
        32_000,
        12_000 + 4404 + 12_000 + 6400 + 2 * 12_800 + 404 + 4000 + 4000 + 64_000 + 6400,
    ),
    # 1,000 of 8,000 elements: two indices and an element read, a value written
    (
        "aten.sparse_mask.default",
        tensor(1000),
        {"self": tensor(100, 80), "indices": tensor(2, 1000, dtype="int64")},
        {},
        0,
        16_000 + 4000 + 4000,
    ),
    (
        "aten._convert_indices_from_coo_to_csr.default",
        tensor(101, dtype="int64"),
        {"self": tensor(1000, dtype="int64")},
        {},
        0,
        8808,
    ),
]


@pytest.mark.parametrize(("name", "outputs", "inputs", "attributes", "flops", "nbytes"), BY_HAND)
def test_counts_by_hand(name, outputs, inputs, attributes, flops, nbytes):
    work = count_op(op(name, outputs, attributes, **inputs))
    assert work.flops == pytest.approx(flops)
    assert work.bytes_moved == pytest.approx(nbytes)
    assert not work.synchronizes


def test_a_grid_of_positions():
    # 2 x 5 x 5 positions of 2 coordinates, each the product of 3 numbers
    call = op("aten.affine_grid_generator.default", tensor(2, 5, 5, 2), theta=tensor(2, 2, 3))
    assert count_op(call).flops == 2 * 25 * 2 * 3 * 2


def test_euclidean_distances_of_many_points_are_a_product():
    call = op("aten._euclidean_dist.default", tensor(50, 40), x1=tensor(50, 8), x2=tensor(40, 8))
    products = [k for k in count_op(call).kernels if k.kind == "matmul"]
    assert [k.flops for k in products] == [2 * 50 * 40 * 10]
    large = op("aten._cdist_forward.default", tensor(50, 40), {"p": 2.0}, x1=tensor(50, 8), x2=tensor(40, 8))
    assert count_op(large).kernels == count_op(call).kernels


def test_normalized_transforms_scale_their_result():
    plain, scaled = (
        count_op(op("aten._fft_c2c.default", A, {"dim": (1,), "normalization": n}, self=A)) for n in (0, 2)
    )
    assert scaled.launches == plain.launches + 1


def test_coalescing_sorts_by_merging():
    def coalesced(count, left):
        outs = tensor(2, left, dtype="int64"), tensor(left)
        given = {"indices": tensor(2, count, dtype="int64"), "values": tensor(count)}
        return count_op(op("aten._coalesce.default", outs, **given))

    # One block sorts up to 2,816 pairs of 16 bytes: read and written once. Before it two indices become one number, and
    # two numberings are written; after it 16 bytes an element are looked through and 12 added up to 4; then each of two
    # indices takes three kernels of 16, 16 and 24 bytes.
    work = coalesced(1000, 1000)
    assert work.bytes_moved == 1000 * (16 + 8 + 16 + 32 + 16 + 16 + 8 + 12 + 4 + 2 * 56)
    assert work.synchronizes
    # 2,816 x 1,024 pairs take ten passes more.
    assert coalesced(2816 * 1024, 1000).launches == work.launches + 10
    assert coalesced(1000, 500).bytes_moved < work.bytes_moved


def test_a_softmax_over_elements_waits_for_their_lines():
    given = {"indices": tensor(2, 1000, dtype="int64"), "values": tensor(1000)}
    forward = count_op(op("aten._sparse_softmax.default", tensor(1000), {"dim": 1}, **given))
    name = "aten._sparse_softmax_backward_data.default"
    backward = count_op(op(name, tensor(1000), {"dim": 1}, grad_output=tensor(1000), **given))
    assert forward.synchronizes and backward.synchronizes
    assert forward.flops > backward.flops > 4000


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("aten.allclose.default", {"self": tensor(4), "other": tensor(4)}),
        ("aten._linalg_check_errors.default", {"info": tensor(2, dtype="int32")}),
        ("aten.embedding_renorm_.default", {"self": tensor(10, 4), "indices": tensor(6, dtype="int64")}),
    ],
)
def test_what_the_host_waits_for(name, inputs):
    assert count_op(op(name, (), **inputs)).synchronizes


def test_twice_the_batch_is_twice_the_work():
    for one, _ in FACTORIZATIONS[:1]:
        double = op(one.name, (tensor(4, 96, 96),), self=tensor(4, 96, 96))
        assert count_op(double).flops == 2 * count_op(one).flops


def kernels_of(name, outputs, attributes=None, **inputs):
    return count_op(op(name, outputs, attributes, **inputs)).kernels


HALF = tensor(64, 96, dtype="float16")


@pytest.mark.parametrize(
    ("left", "right", "out", "aligned"),
    [
        (HALF, tensor(96, 40, dtype="float16"), tensor(64, 40, dtype="float16"), True),
        # 50,257 words: rows of the result, and of the transposed weight's columns, begin anywhere.
        (HALF, tensor(96, 50257, dtype="float16"), tensor(64, 50257, dtype="float16"), False),
        # 197 tokens: a batch of products whose rows are 394 bytes.
        (tensor(8, 197, 64, dtype="float16"), tensor(8, 64, 197, dtype="float16"), tensor(8, 197, 197), False),
        # An odd depth does not matter where both operands lie along their other side.
        (
            Tensor((64, 197), "float16", (1, 64)),
            tensor(197, 40, dtype="float16"),
            tensor(64, 40, dtype="float16"),
            True,
        ),
        (tensor(64, 100), tensor(100, 44), tensor(64, 44), True),
        (tensor(64, 99), tensor(99, 44), tensor(64, 44), False),
    ],
)
def test_rows_of_products_begin_at_multiples_of_16_bytes_or_not(left, right, out, aligned):
    name = "aten.bmm.default" if len(left.shape) == 3 else "aten.mm.default"
    (kernel,) = kernels_of(name, out, self=left, mat2=right)
    assert kernel.aligned is aligned


@pytest.mark.parametrize(("causal", "blocks"), [(False, 4), (True, 3)])
def test_attention_computes_whole_blocks_of_scores(causal, blocks):
    # 197 tokens are two blocks of 128: four squares of scores a head, or three on and below the diagonal.
    query = tensor(2, 3, 197, 64, dtype="float16")
    outs = (query, tensor(2, 3, 197))
    name = "aten._scaled_dot_product_flash_attention.default"
    (kernel,) = kernels_of(name, outs, {"is_causal": causal}, query=query, key=query, value=query)
    whole = 256 * 257 / 2 if causal else blocks * 128 * 128
    assert kernel.elements == 2 * 3 * whole
    assert kernel.variant == ""
    efficient = kernels_of(name.replace("flash", "efficient"), outs, query=query, key=query, value=query)
    assert efficient[0].variant == "efficient"


@pytest.mark.parametrize(
    ("size", "window", "stride", "planar"), [(56, 1, 1, True), (14, 1, 1, False), (56, 3, 1, False), (56, 1, 2, False)]
)
def test_pointwise_convolutions_of_aligned_planes_run_as_they_lie(size, window, stride, planar):
    # Planes of 56 x 56 in half precision are 6,272 bytes, 392 times 16; of 14 x 14 they are 392, no multiple of 16.
    data, weight = tensor(8, 64, size, size, dtype="float16"), tensor(128, 64, window, window, dtype="float16")
    out = tensor(8, 128, size // stride, size // stride, dtype="float16")
    (kernel,) = kernels_of("aten.convolution.default", out, input=data, weight=weight)
    assert (kernel.variant == "planar") is planar


def test_statistics_of_a_channel_are_the_work_of_one_multiprocessor():
    data, channel = tensor(8, 16, 32, 32), tensor(16)
    outs = (data, channel, channel)
    inputs = {"input": data, "weight": channel, "bias": channel, "running_mean": channel, "running_var": channel}
    whole = kernels_of("aten.cudnn_batch_norm.default", outs, {"training": True}, **inputs)
    assert [k.blocks for k in whole] == [16]
    assert kernels_of("aten.cudnn_batch_norm.default", outs, {"training": False}, **inputs)[0].blocks is None
    native = kernels_of("aten.native_batch_norm.default", outs, {"training": True}, **inputs)
    assert [(k.blocks, k.variant) for k in native if k.kind == "normalization"] == [(16, "native"), (None, "native")]
    last = Tensor(data.shape, "float32", (16 * 32 * 32, 1, 16 * 32, 16))
    inner = kernels_of("aten.cudnn_batch_norm.default", outs, {"training": True}, **{**inputs, "input": last})
    assert inner[0].blocks is None


def test_short_rows_are_begun_more_often():
    rows = {width: tensor(2**20 // width, width) for width in (512, 4096)}
    items = [
        kernels_of("aten.native_layer_norm.default", x, {"normalized_shape": (width,)}, input=x)[0].elements
        for width, x in rows.items()
    ]
    assert items == [2 * 2**20 * 2, 2 * 2**20 * 1.125]


@pytest.mark.parametrize(("columns", "reads"), [(1000, 1), (3001, 1), (4097, 3), (8192, 1), (8193, 3), (16_384, 3)])
def test_a_row_that_stays_near_is_read_once(columns, reads):
    rows = tensor(64, columns)
    (kernel,) = kernels_of("aten._softmax.default", rows, {"dim": -1}, self=rows)
    assert kernel.bytes_read == reads * 64 * columns * 4
    (kernel,) = kernels_of("aten._log_softmax_backward_data.default", rows, {"dim": -1}, grad_output=rows, output=rows)
    assert kernel.bytes_read == (2 if columns <= 4096 else 3) * 64 * columns * 4
    across = tensor(columns, 64)
    (kernel,) = kernels_of("aten._softmax.default", across, {"dim": 0}, self=across)
    assert kernel.bytes_read == 3 * 64 * columns * 4


def test_a_product_is_deep_where_long_rows_of_both_factors_lie_along_the_sum():
    def is_deep(k, by_rows=True, dtype="float32"):
        left = tensor(64, k, dtype=dtype) if by_rows else Tensor((64, k), dtype, (1, 64))
        right = Tensor((k, 32), dtype, (1, k))
        (kernel,) = kernels_of("aten.mm.default", tensor(64, 32, dtype=dtype), self=left, mat2=right)
        return kernel.deep

    assert is_deep(8193)
    assert not is_deep(8192)
    assert not is_deep(16_384, dtype="float16")
    assert not is_deep(100_000, by_rows=False)  # the gradient of a weight, a sum over the batch


def test_joining_keeps_pieces_in_order():
    part = tensor(4, 8)
    (kernel,) = kernels_of("aten.cat.default", tensor(8, 8), tensors=(part, part))
    assert (kernel.kind, kernel.bytes_moved) == ("elementwise", 2 * 2 * 4 * 8 * 4)
