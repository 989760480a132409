"""Public models of graphs that multiply with sparse matrices, as they are written: what CUDA would run for a step."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from whichgpu.memory.scratch import Libraries, workspaces
from whichgpu.work import count_graph, count_op

pytestmark = pytest.mark.usefixtures("phantom")
NODES, EDGES = 100, 500


def places(nodes=NODES, edges=EDGES):
    """Return (2, edges) places, each another one."""
    flat = torch.randperm(nodes * nodes)[:edges]
    return torch.stack([flat // nodes, flat % nodes])


def products(job, phase=None):
    return [op for op in job.graph.ops if op.base_name == "aten._sparse_addmm" and phase in (None, op.phase)]


def forms(ops, *names):
    """Return the shapes of tensors the ops are given, and of their results."""
    return [(*(op.tensor(name).shape for name in names), op.output().shape) for op in ops]


class GraphConvolution(nn.Module):
    """That of github.com/tkipf/pygcn."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.FloatTensor(in_features, out_features))
        self.bias = nn.Parameter(torch.FloatTensor(out_features))
        stdv = 1.0 / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        output = torch.spmm(adj, support)
        return output + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, adj)
        return F.log_softmax(x, dim=1)


def gcn(record, adj, after=lambda adj: adj):
    """Record a step of pygcn's train.py."""
    features, labels = torch.randn(NODES, 32).cuda(), torch.randint(7, (NODES,)).cuda()
    idx_train = torch.arange(40).cuda()
    model = GCN(nfeat=32, nhid=16, nclass=7, dropout=0.5).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    adj = after(adj.cuda())

    def step():
        model.train()
        optimizer.zero_grad()
        output = model(features, adj)
        loss_train = F.nll_loss(output[idx_train], labels[idx_train])
        loss_train.backward()
        optimizer.step()

    return record(step)


def test_pygcn(record, names):
    adj = torch.sparse.FloatTensor(places(), torch.rand(EDGES), torch.Size([NODES, NODES]))
    job = gcn(record, adj)
    # Forward with supports of 16 and 7 columns, backward with gradients of 7 and 16.
    found = forms(products(job), "indices", "values", "mat2")
    assert found == [((2, EDGES), (EDGES,), (NODES, c), (NODES, c)) for c in (16, 7, 7, 16)]
    # It is coalesced for every product, and every backward one copies and turns it first.
    assert names(job)["aten._coalesce.default"] == 4
    assert (names(job, "backward")["aten.clone.default"], names(job, "backward")["aten.copy_.default"]) == (4, 6)
    assert names(job)["aten.zeros.default"] == 4
    # The graph is no parameter: nothing as large as (100, 100) is computed.
    assert all(t.shape != (NODES, NODES) for op in job.graph.ops for t in (*op.input_tensors(), *op.output_tensors()))
    assert [sum(k.flops for k in count_op(op).kernels) for op in products(job)] == [
        2 * EDGES * c for c in (16, 7, 7, 16)
    ]
    assert count_graph(job.graph).bounded == ()


def test_memory_of_pygcn(record):
    adj = torch.sparse.FloatTensor(places(), torch.rand(EDGES), torch.Size([NODES, NODES]))
    job = gcn(record, adj)
    first = products(job)[0]
    storages = job.graph.storages
    sort = next(op for op in job.graph.ops if op.base_name == "aten._coalesce")
    kept = [storages[sort.tensor(name).storage] for name in ("indices", "values")]
    assert [(s.nbytes, s.allocated_at, s.freed_at) for s in kept] == [
        (2 * EDGES * 8, None, None),
        (EDGES * 4, None, None),
    ]
    # What is coalesced for a product, and the zeros it is added to, go with it.
    index = job.graph.ops.index(first)
    for name in ("indices", "values", "self"):
        assert storages[first.tensor(name).storage].freed_at == index + 1
    needed = workspaces(job.graph, Libraries()).needed
    # The result once more, columns and ends of rows in int32; for sorting five numbers an element.
    assert needed[index] == NODES * 16 * 4 + 4 * (EDGES + NODES + 1)
    assert needed[job.graph.ops.index(sort)] == 5 * 8 * EDGES


def test_a_graph_coalesced_beforehand_is_not_sorted_forward(record, names):
    adj = torch.sparse_coo_tensor(places(), torch.rand(EDGES), (NODES, NODES)).coalesce()
    job = gcn(record, adj)
    assert names(job, "forward")["aten._coalesce.default"] == 0
    # Its transpose is.
    assert names(job, "backward")["aten._coalesce.default"] == 2


def test_csr(record, names):
    adj = torch.sparse_coo_tensor(places(), torch.rand(EDGES), (NODES, NODES)).to_sparse_csr()
    job = gcn(record, adj)
    found = forms(products(job), "crow_indices", "col_indices", "values", "mat2")
    assert found == [((NODES + 1,), (EDGES,), (EDGES,), (NODES, c), (NODES, c)) for c in (16, 7, 7, 16)]
    assert names(job)["aten._coalesce.default"] == 0
    # The transpose lies in columns and is brought into rows for each product.
    assert names(job, "backward")["aten.sort.stable"] == 2
    assert names(job, "forward")["aten.sort.stable"] == 0
    needed = workspaces(job.graph, Libraries()).needed
    assert not any(op.base_name == "aten._sparse_addmm" and i in needed for i, op in enumerate(job.graph.ops))


def test_csr_of_a_dense_graph_of_zeros_and_ones(record):
    adj = torch.sparse_coo_tensor(places(), torch.ones(EDGES), (NODES, NODES)).to_dense()
    job = gcn(record, adj, torch.Tensor.to_sparse_csr)
    assert forms(products(job), "crow_indices", "values")[0] == ((NODES + 1,), (EDGES,), (NODES, 16))


class LightGCN(nn.Module):
    """That of github.com/gusye1234/LightGCN-PyTorch, with its own way to drop edges."""

    def __init__(self, num_users, num_items, latent_dim, graph, keep_prob, random_on=None):
        super().__init__()
        self.num_users, self.num_items = num_users, num_items
        self.keep_prob, self.random_on, self.Graph = keep_prob, random_on, graph
        self.embedding_user = nn.Embedding(num_users, latent_dim)
        self.embedding_item = nn.Embedding(num_items, latent_dim)

    def __dropout_x(self, x, keep_prob):
        size = x.size()
        index = x.indices().t()
        values = x.values()
        random_index = torch.rand(len(values), device=self.random_on) + keep_prob
        random_index = random_index.int().bool()
        index = index[random_index]
        values = values[random_index] / keep_prob
        return torch.sparse.FloatTensor(index.t(), values, size)

    def forward(self, users, items):
        all_emb = torch.cat([self.embedding_user.weight, self.embedding_item.weight])
        embs = [all_emb]
        g_droped = self.__dropout_x(self.Graph, self.keep_prob) if self.keep_prob < 1 else self.Graph
        for _ in range(3):
            all_emb = torch.sparse.mm(g_droped, all_emb)
            embs.append(all_emb)
        light_out = torch.mean(torch.stack(embs, dim=1), dim=1)
        users_emb, items_emb = torch.split(light_out, [self.num_users, self.num_items])
        return (users_emb[users] * items_emb[items]).sum(1)


def light_gcn(record, keep_prob, random_on=None):
    graph = torch.sparse.FloatTensor(places(), torch.rand(EDGES), torch.Size([NODES, NODES])).coalesce().to("cuda")
    model = LightGCN(60, 40, 8, graph, keep_prob, random_on).to("cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    users, items = torch.randint(60, (32,)).cuda(), torch.randint(40, (32,)).cuda()

    def step():
        loss = F.softplus(-model(users, items)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return record(step)


def test_light_gcn(record, names):
    job = light_gcn(record, 1)
    assert forms(products(job), "values", "mat2") == [((EDGES,), (NODES, 8), (NODES, 8))] * 6
    assert (names(job, "forward")["aten._coalesce.default"], names(job, "backward")["aten._coalesce.default"]) == (0, 3)
    # Gradients of embeddings that the mean and the next layer use meet; the first is part of a larger one.
    assert names(job, "backward")["aten.add.Tensor"] == 3


def test_edges_dropped_by_numbers_drawn_on_the_host_are_counted(record):
    torch.manual_seed(0)
    job = light_gcn(record, 0.6)
    kept = products(job)[0].tensor("values").numel
    assert 0.5 * EDGES < kept < 0.7 * EDGES and kept != 0.6 * EDGES


def test_edges_dropped_by_numbers_drawn_on_the_device_are_taken_by_chance(record, names):
    job = light_gcn(record, 0.6, "cuda")
    assert forms(products(job), "indices", "values") == [((2, 300), (300,), (NODES, 8))] * 6
    assert any("on average" in note for note in job.notes)
    assert names(job, "forward")["aten._coalesce.default"] == 3


class SpecialSpmmFunction(torch.autograd.Function):
    """That of github.com/Diego999/pyGAT."""

    @staticmethod
    def forward(ctx, indices, values, shape, b):
        assert not indices.requires_grad
        a = torch.sparse_coo_tensor(indices, values, shape)
        ctx.save_for_backward(a, b)
        ctx.N = shape[0]
        return torch.matmul(a, b)

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        grad_values = grad_b = None
        if ctx.needs_input_grad[1]:
            grad_a_dense = grad_output.matmul(b.t())
            edge_idx = a._indices()[0, :] * ctx.N + a._indices()[1, :]
            grad_values = grad_a_dense.view(-1)[edge_idx]
        if ctx.needs_input_grad[3]:
            grad_b = a.t().matmul(grad_output)
        return None, grad_values, None, grad_b


class SpGraphAttentionLayer(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.W = nn.Parameter(torch.rand(in_features, out_features))
        self.a = nn.Parameter(torch.rand(1, 2 * out_features))
        self.dropout = nn.Dropout(0.5)
        self.leakyrelu = nn.LeakyReLU(0.2)

    def forward(self, input, adj):
        dv = "cuda" if input.is_cuda else "cpu"
        n = input.size()[0]
        edge = adj.nonzero().t()
        h = torch.mm(input, self.W)
        assert not torch.isnan(h).any()
        edge_h = torch.cat((h[edge[0, :], :], h[edge[1, :], :]), dim=1).t()
        edge_e = torch.exp(-self.leakyrelu(self.a.mm(edge_h).squeeze()))
        spmm = SpecialSpmmFunction.apply
        e_rowsum = spmm(edge, edge_e, torch.Size([n, n]), torch.ones(size=(n, 1), device=dv))
        edge_e = self.dropout(edge_e)
        h_prime = spmm(edge, edge_e, torch.Size([n, n]), h)
        return F.elu(h_prime.div(e_rowsum))


def test_pygat(record, names):
    adj = torch.zeros(NODES, NODES)
    adj[tuple(places())] = 1
    x, adj = torch.randn(NODES, 12).cuda(), adj.cuda()
    layer = SpGraphAttentionLayer(12, 8).cuda()

    def step():
        layer.zero_grad()
        layer(x, adj).sum().backward()

    job = record(step)
    # Sums of rows, then features; backward the features' gradient alone, for the ones want none.
    assert forms(products(job, "forward"), "values", "mat2") == [
        ((EDGES,), (NODES, 1), (NODES, 1)),
        ((EDGES,), (NODES, 8), (NODES, 8)),
    ]
    assert forms(products(job, "backward"), "values", "mat2") == [((EDGES,), (NODES, 8), (NODES, 8))]
    # The function's own gradient of the values is dense, for both products.
    dense = [op for op in job.graph.ops if op.base_name == "aten.mm" and op.output().shape == (NODES, NODES)]
    assert len(dense) == 2
    assert count_graph(job.graph).bounded == ()


def test_gradients_of_values_go_over_a_dense_product(record, names):
    weights = torch.rand(EDGES, device="cuda", requires_grad=True)
    indices, x = places().cuda(), torch.rand(NODES, 8, device="cuda")
    job = record(lambda: torch.sparse.mm(torch.sparse_coo_tensor(indices, weights, (NODES, NODES)), x).sum().backward())
    (dense,) = (op for op in job.graph.ops if op.base_name == "aten.mm")
    assert (dense.tensor("self").shape, dense.output().shape) == ((NODES, 8), (NODES, NODES))
    (mask,) = (op for op in job.graph.ops if op.base_name == "aten.sparse_mask")
    assert mask.output().shape == (EDGES,)
    # The dense factor wants no gradient.
    assert len(products(job)) == 1


def test_softmax_over_edges(record, names):
    scores = torch.rand(EDGES, device="cuda", requires_grad=True)
    indices, x = places().cuda(), torch.rand(NODES, 8, device="cuda", requires_grad=True)

    def step():
        attention = torch.sparse.softmax(torch.sparse_coo_tensor(indices, scores, (NODES, NODES)), dim=1)
        torch.sparse.mm(attention, x).sum().backward()

    found = names(record(step))
    assert found["aten._sparse_softmax.default"] == found["aten._sparse_softmax_backward_data.default"] == 1


def test_gradients_that_meet_at_a_product_are_added_in_place(record, names):
    graph = torch.sparse_coo_tensor(places(), torch.rand(EDGES), (NODES, NODES)).coalesce().cuda()
    weight = torch.rand(8, 8, device="cuda", requires_grad=True)
    x = torch.rand(NODES, 8, device="cuda")

    def step():
        weight.grad = None
        hidden = x @ weight
        (torch.sparse.mm(graph, hidden).relu() + hidden.relu()).pow(2).mean().backward()

    assert names(record(step), "backward")["aten.add_.Tensor"] == 1


def test_kgat_keeps_its_graph_as_a_parameter(record):
    graph = torch.sparse_coo_tensor(places(), torch.rand(EDGES), (NODES, NODES))

    class KGAT(nn.Module):
        """In the manner of github.com/LunaBlack/KGAT-pytorch."""

        def __init__(self):
            super().__init__()
            self.entity_embed = nn.Embedding(NODES, 8)
            self.A_in = nn.Parameter(torch.sparse.FloatTensor(NODES, NODES))
            self.A_in.data = graph
            self.A_in.requires_grad = False

        def update_attention(self, device):
            self.A_in.data = torch.sparse.softmax(self.A_in.cpu(), dim=1).to(device)

        def forward(self):
            return torch.matmul(self.A_in, self.entity_embed.weight)

    model = KGAT()
    model.to("cuda")
    model.update_attention("cuda")
    assert isinstance(model.A_in, nn.Parameter) and model.A_in.is_cuda
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        optimizer.zero_grad()
        model().sum().backward()
        optimizer.step()

    job = record(step)
    assert forms(products(job), "values", "mat2") == [((EDGES,), (NODES, 8), (NODES, 8))] * 2
    product = products(job)[0]
    assert job.graph.storages[product.tensor("values").storage].kind == "parameter"


def test_ngcf_drops_edges_by_numbers_of_the_host_on_the_device(record):
    graph = torch.sparse_coo_tensor(places(), torch.rand(EDGES), (NODES, NODES)).to("cuda")
    x = torch.rand(NODES, 8, device="cuda")

    def sparse_dropout(x, rate, noise_shape):
        """That of github.com/huangtinglin/NGCF-PyTorch."""
        random_tensor = 1 - rate
        random_tensor += torch.rand(noise_shape).to(x.device)
        dropout_mask = torch.floor(random_tensor).type(torch.bool)
        i = x._indices()
        v = x._values()
        i = i[:, dropout_mask]
        v = v[dropout_mask]
        out = torch.sparse.FloatTensor(i, v, x.shape).to(x.device)
        return out * (1.0 / (1 - rate))

    job = record(lambda: torch.sparse.mm(sparse_dropout(graph, 0.1, graph._nnz()), x))
    assert products(job)[0].tensor("values").shape == (450,)
