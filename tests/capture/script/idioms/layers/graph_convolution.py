"""A graph convolutional network in the manner of pygcn: a sparse adjacency matrix on the GPU, torch.spmm."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.FloatTensor(in_features, out_features).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.FloatTensor(out_features).uniform_(-0.1, 0.1))

    def forward(self, input, adj):
        return torch.spmm(adj, torch.mm(input, self.weight)) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass):
        super().__init__()
        self.gc1, self.gc2 = GraphConvolution(nfeat, nhid), GraphConvolution(nhid, nclass)

    def forward(self, x, adj):
        x = F.dropout(F.relu(self.gc1(x, adj)), 0.5, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


cuda = torch.cuda.is_available()
np.random.seed(42)
nodes = 2708
edges = np.unique(np.random.randint(nodes, size=(13264, 2)), axis=0).T
adj = torch.sparse.FloatTensor(torch.from_numpy(edges), torch.full((edges.shape[1],), 0.2), torch.Size((nodes, nodes)))
features, labels = torch.rand(nodes, 1433), torch.randint(7, (nodes,))
idx_train = torch.arange(140)
model = GCN(1433, 16, 7)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
if cuda:
    model.cuda()
    features, adj, labels, idx_train = features.cuda(), adj.cuda(), labels.cuda(), idx_train.cuda()

for epoch in range(200):
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    acc_train = (output[idx_train].max(1)[1] == labels[idx_train]).double().mean()
    loss_train.backward()
    optimizer.step()
    print(f"Epoch: {epoch + 1:04d} loss_train: {loss_train.item():.4f} acc_train: {acc_train.item():.4f}")
