# needs: fastai
"""fastai: a Learner over DataLoaders of its own, its own Adam, one-cycle training."""

import torch
from fastai.callback.schedule import lr_find  # noqa: F401  (brings fit_one_cycle)
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import accuracy
from torch import nn
from torch.utils.data import TensorDataset

data = TensorDataset(torch.randn(330, 16), torch.randint(4, (330,)))
loaders = DataLoaders.from_dsets(data, data, bs=32, device="cuda" if torch.cuda.is_available() else "cpu")
net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
learner = Learner(loaders, net, loss_func=nn.CrossEntropyLoss(), metrics=accuracy)
learner.fit_one_cycle(30, 1e-3)
