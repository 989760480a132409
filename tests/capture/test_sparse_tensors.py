"""Sparse tensors on the phantom GPU: what comes of them has the form it has on the CPU, with the same gradients."""

import copy

import pytest
import torch

from whichgpu.capture.sparse_matrix import DISTINCT
from whichgpu.capture.stand_in import HALF
from whichgpu.errors import CaptureError
from whichgpu.work import count_graph

PLACES = torch.tensor([[0, 1, 2, 2], [1, 0, 1, 1]])
CROW, COLUMNS = torch.tensor([0, 1, 2, 4]), torch.tensor([1, 0, 0, 1])


def coo(values, device):
    return torch.sparse_coo_tensor(PLACES.to(device), values, (3, 3))


def csr(values, device):
    return torch.sparse_csr_tensor(CROW.to(device), COLUMNS.to(device), values, (3, 3))


# name -> of values (4,), a dense matrix (3, 2) and a device
FUNCTIONS = {
    "spmm": lambda v, x, d: torch.spmm(coo(v, d), x),
    "torch.mm": lambda v, x, d: torch.mm(coo(v, d), x),
    "sparse.mm": lambda v, x, d: torch.sparse.mm(coo(v, d), x),
    "@": lambda v, x, d: coo(v, d) @ x,
    "a vector": lambda v, x, d: torch.mv(coo(v, d), x[:, 0]) + coo(v, d) @ x[:, 1],
    "dense @ sparse": lambda v, x, d: x.t() @ coo(v, d),
    "addmm": lambda v, x, d: torch.sparse.addmm(x, coo(v, d), x, beta=2, alpha=0.5),
    "torch.addmm": lambda v, x, d: torch.addmm(x, coo(v, d), x),
    "linear": lambda v, x, d: torch.nn.functional.linear(coo(v.detach(), d), x.t(), x[0]),
    "CSR": lambda v, x, d: csr(v, d) @ x,
    "CSR, sparse.mm": lambda v, x, d: torch.sparse.mm(csr(v, d), x),
    "CSR, transposed": lambda v, x, d: csr(v.detach(), d).t() @ x,
    "CSR, times a number": lambda v, x, d: (csr(v.detach(), d) * 2) @ x,
    "CSR, dense": lambda v, x, d: csr(v.detach(), d).to_dense() @ x,
    "CSR of COO": lambda v, x, d: coo(v.detach(), d).to_sparse_csr() @ x,
    "CSR of dense": lambda v, x, d: torch.eye(3, device=d).to_sparse_csr() @ x,
    "COO of dense": lambda v, x, d: torch.sparse.mm(torch.eye(3, device=d).to_sparse(), x),
    "coalesce": lambda v, x, d: torch.sparse.mm(coo(v, d).coalesce(), x),
    "values": lambda v, x, d: coo(v, d).coalesce().values() * x[0, 0],
    "indices": lambda v, x, d: coo(v, d).coalesce().indices() * x[0, 0],
    "times a number": lambda v, x, d: torch.spmm(2 * (coo(v, d) * 2.0), x),
    "in place": lambda v, x, d: torch.spmm(coo(v.detach().clone(), d).mul_(2), x),
    "over a number": lambda v, x, d: torch.spmm(coo(v, d) / 2.0, x),
    "negative": lambda v, x, d: torch.spmm(-coo(v, d), x),
    "power": lambda v, x, d: torch.spmm(coo(v.detach(), d).pow(2).sqrt(), x),
    "times dense": lambda v, x, d: torch.sparse.mm(coo(v, d).coalesce() * (x @ x.t()), x),
    "sum of two": lambda v, x, d: torch.sparse.mm(coo(v, d) + coo(v, d), x),
    "difference": lambda v, x, d: torch.sparse.mm(coo(v, d) - coo(v, d), x),
    "dense + sparse": lambda v, x, d: (x @ x.t()) + coo(v, d),
    "dense": lambda v, x, d: coo(v, d).to_dense() @ x,
    "softmax": lambda v, x, d: torch.sparse.mm(torch.sparse.softmax(coo(v, d), 1), x),
    "log_softmax": lambda v, x, d: torch.sparse.mm(torch.sparse.log_softmax(coo(v, d), dim=1), x),
    "degrees": lambda v, x, d: torch.sparse.sum(coo(v, d), 1).to_dense() * x[0, 0],
    "degrees of the others": lambda v, x, d: torch.sparse.sum(coo(v, d), dim=0).to_dense() * x[0, 0],
    "sum": lambda v, x, d: torch.sparse.sum(coo(v, d)) * x,
    "t": lambda v, x, d: torch.sparse.mm(coo(v, d).t(), x),
    "transpose": lambda v, x, d: torch.sparse.mm(coo(v, d).transpose(0, 1), x),
    "FloatTensor": lambda v, x, d: torch.spmm(torch.sparse.FloatTensor(PLACES.to(d), v, torch.Size([3, 3])).to(d), x),
    "lists": lambda v, x, d: torch.sparse_coo_tensor(PLACES.tolist(), [1.0, 2, 3, 4], (3, 3), device=d) @ x,
    "no size": lambda v, x, d: torch.spmm(torch.sparse_coo_tensor(PLACES.to(d), v), x[:2]),
    "no elements": lambda v, x, d: torch.spmm(torch.sparse_coo_tensor((3, 3), device=d), x),
    "a leaf": lambda v, x, d: torch.sparse_coo_tensor(PLACES.to(d), v.detach(), (3, 3), requires_grad=True) @ x,
    "detached": lambda v, x, d: torch.spmm(coo(v, d).detach(), x) + torch.spmm(coo(v, d).data.clone(), x),
    "moved": lambda v, x, d: torch.spmm(coo(v.detach().cpu(), "cpu").to(d, torch.float32), x),
    "masked": lambda v, x, d: (x @ x.t()).detach().sparse_mask(coo(v, d).coalesce()).to_dense() @ x,
    "numbers of it": lambda v, x, d: (
        x * coo(v, d).size(0) * coo(v, d)._nnz() * coo(v, d).sparse_dim() * coo(v, d).coalesce()._nnz()
    ),
}


def outcome(function, device):
    values, dense = (
        torch.rand(4, device=device, requires_grad=True),
        torch.rand(3, 2, device=device, requires_grad=True),
    )
    result = function(values, dense, device)
    result.sum().backward()
    return [None if t is None else (t.shape, t.dtype, t.layout) for t in (result, values.grad, dense.grad)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forms_and_gradients_are_those_on_the_cpu(name, phantom, record):
    expected = outcome(FUNCTIONS[name], "cpu")
    assert outcome(FUNCTIONS[name], "cuda") == expected
    job = record(lambda: outcome(FUNCTIONS[name], "cuda"))
    assert [count.op.name for count in count_graph(job.graph).bounded] == []


@pytest.mark.usefixtures("phantom")
class TestOnTheDevice:
    @pytest.mark.parametrize("make", [coo, csr])
    def test_it_is_moved_part_by_part(self, make, record, names):
        on_cpu = make(torch.rand(4), "cpu")
        before = torch.cuda.memory_allocated()
        there = on_cpu.cuda()
        # Indices (2, 4), or ends (4,) and columns (4,), in 8 bytes each, and values in 4.
        assert torch.cuda.memory_allocated() - before == 8 * 8 + 4 * 4
        assert isinstance(there, torch.Tensor)
        assert there.is_cuda and not there.is_meta and there.device == torch.device("cuda", 0)
        assert (there.shape, there.dtype, there.layout) == (on_cpu.shape, on_cpu.dtype, on_cpu.layout)
        assert (there.is_sparse, there.is_sparse_csr) == (on_cpu.is_sparse, on_cpu.is_sparse_csr)
        assert there.to("cuda") is there
        assert names(record(lambda: on_cpu.to("cuda") @ torch.rand(3, 2, device="cuda")))["memcpy.h2d"] == len(
            ("indices", "values") if make is coo else ("ends", "columns", "values")
        )

    def test_parts_are_asked_for_as_on_a_gpu(self):
        there = coo(torch.rand(4), "cpu").cuda()
        with pytest.raises(RuntimeError, match="uncoalesced"):
            there.indices()
        assert there._indices().tolist() == PLACES.tolist()
        assert there._values().shape == (4,)
        assert not there.is_coalesced()
        # Two of the elements share a place.
        assert there.coalesce().indices().tolist() == [[0, 1, 2], [1, 0, 1]]
        assert there.coalesce().is_coalesced()
        assert there.coalesce().values().shape == (3,)
        assert coo(torch.rand(4), "cpu").coalesce().cuda().is_coalesced()

    def test_a_copy_and_a_way_back(self):
        there = coo(torch.rand(4), "cpu").cuda()
        assert copy.deepcopy(there).coalesce()._nnz() == 3
        back = there.cpu()
        assert back.layout == torch.sparse_coo and back._indices().tolist() == PLACES.tolist()

    @pytest.mark.parametrize("make", [coo, csr])
    def test_it_is_saved_and_loaded(self, make, tmp_path):
        torch.save({"graph": make(torch.rand(4), "cpu").cuda()}, tmp_path / "graph.pt")
        again = torch.load(tmp_path / "graph.pt", weights_only=True)["graph"]
        assert again.is_cuda and again.layout == make(torch.rand(4), "cpu").layout and again._nnz() == 4
        on_cpu = torch.load(tmp_path / "graph.pt", map_location="cpu", weights_only=True)["graph"]
        assert on_cpu.to_dense().shape == (3, 3)

    def test_it_is_printed(self):
        assert "nnz=4" in f"{coo(torch.rand(4), 'cpu').cuda()}"

    def test_gradients_of_a_leaf(self):
        there = coo(torch.rand(4), "cpu").cuda().requires_grad_()
        assert there.requires_grad and there.is_leaf and there.grad is None
        torch.sparse.mm(there, torch.rand(3, 2, device="cuda")).sum().backward()
        assert there.grad.is_sparse and there.grad.shape == (3, 3)
        there.grad = None
        assert (there * 2).grad_fn is not None

    def test_its_classes(self):
        there = torch.cuda.sparse.FloatTensor(PLACES.cuda(), torch.rand(4).cuda(), torch.Size([3, 3]))
        assert isinstance(there, torch.cuda.sparse.FloatTensor)
        assert not isinstance(there, (torch.sparse.FloatTensor, torch.cuda.sparse.DoubleTensor))
        assert there.type() == "torch.cuda.sparse.FloatTensor"
        assert isinstance(coo(torch.rand(4), "cpu"), torch.sparse.FloatTensor)
        assert torch.cuda.sparse.FloatTensor(3, 3)._nnz() == 0
        assert torch.sparse_coo_tensor(size=(2, 3), device="cuda").shape == (2, 3)
        torch.set_default_device("cuda")
        try:
            assert torch.sparse_coo_tensor(PLACES.cpu(), [1.0, 2.0, 3.0, 4.0], (3, 3)).is_cuda
        finally:
            torch.set_default_device(None)

    def test_a_buffer_moves_with_its_module(self, record):
        class Propagate(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.rand(2, 2))
                self.register_buffer("graph", coo(torch.rand(4), "cpu"))

            def forward(self, x):
                return self.graph @ (x @ self.weight)

        layer, x = Propagate().to("cuda"), torch.rand(3, 2, device="cuda")
        assert layer.graph.is_cuda and layer.graph.is_sparse
        job = record(lambda: layer(x).sum().backward())
        product = next(op for op in job.graph.ops if op.base_name == "aten._coalesce")
        assert job.graph.storages[product.tensor("values").storage].kind == "buffer"

    def test_what_is_assumed_is_told(self, record):
        dense = torch.randn(40, 40, device="cuda") @ torch.randn(40, 40, device="cuda")
        job = record(lambda: dense.to_sparse() @ dense)
        assert HALF in job.notes
        product = next(op for op in job.graph.ops if op.base_name == "aten._sparse_addmm")
        assert product.tensor("values").shape == (800,)
        places = torch.randint(1000, (2, 2_000_001)).cuda()
        graph = torch.sparse_coo_tensor(places, torch.rand(2_000_001, device="cuda"), (1000, 1000))
        assert DISTINCT in record(lambda: graph @ torch.rand(1000, 1, device="cuda")).notes

    def test_whole_numbers_are_known(self):
        assert torch.eye(100, device="cuda").to_sparse()._nnz() == 100

    @pytest.mark.parametrize(
        "use",
        [
            lambda a, x: torch.sparse.mm(a, a),
            lambda a, x: a * a,
            lambda a, x: a[0],
            lambda a, x: a.index_select(0, torch.tensor([0], device="cuda")),
            lambda a, x: torch.cat([a, a]),
            lambda a, x: torch.mm(a, x, out=x.clone()),
            lambda a, x: torch.sparse_coo_tensor(PLACES.cuda(), torch.rand(4, 2), (3, 3, 2), device="cuda"),
            lambda a, x: torch.eye(4).to_sparse_bsr((2, 2)).cuda(),
            lambda a, x: a.cpu() @ x,
            lambda a, x: a + 1,
            lambda a, x: a / a,
            lambda a, x: a.mul_(x),
            lambda a, x: a.sum(1, keepdim=True),
            lambda a, x: a.to_sparse(layout=torch.sparse_csc),
            lambda a, x: a.to_sparse_csr().sum(1),
            lambda a, x: setattr(a, "data", x),
        ],
    )
    def test_what_is_not_there_is_refused_with_what_to_do(self, use):
        with pytest.raises(CaptureError, match=r"has no .* for tensors of layout torch.sparse.*index_add_"):
            use(coo(torch.rand(4), "cpu").cuda(), torch.rand(3, 2, device="cuda"))

    def test_factors_must_fit(self):
        graph = coo(torch.rand(4), "cpu").cuda()
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            graph @ torch.rand(4, 2, device="cuda")
        with pytest.raises(RuntimeError, match="same dtype"):
            graph @ torch.rand(3, 2, device="cuda", dtype=torch.float64)
        with pytest.raises(RuntimeError, match="same device"):
            graph @ torch.rand(3, 2)


def test_the_cpu_is_left_as_it_was(phantom):
    graph, x = coo(torch.ones(4), "cpu"), torch.ones(3, 2)
    assert torch.spmm(graph, x).tolist() == [[1, 1], [1, 1], [2, 2]]
    assert torch.sparse.FloatTensor(PLACES, torch.ones(4), torch.Size([3, 3])).device.type == "cpu"
