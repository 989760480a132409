# needs: lightning, jsonargparse
# arguments: fit --config config.yaml --trainer.max_epochs 5 --data.batch_size=16
# file config.yaml: model: {width: 24}
"""LightningCLI, with a YAML file and dotted arguments."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self, width: int = 16, lr: float = 1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 4))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class Data(LightningDataModule):
    def __init__(self, batch_size: int = 8):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(160, 8), torch.randint(4, (160,))), batch_size=self.batch_size)


if __name__ == "__main__":
    LightningCLI(Model, Data, save_config_callback=None)
