# needs: lightning
"""Lightning told to end an epoch after 5 batches (`limit_train_batches`)."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 4)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


data = TensorDataset(torch.randn(64, 8), torch.randint(4, (64,)))
trainer = L.Trainer(max_epochs=10, limit_train_batches=5, logger=False, enable_checkpointing=False)
trainer.fit(Classifier(), DataLoader(data, batch_size=8, shuffle=True))
