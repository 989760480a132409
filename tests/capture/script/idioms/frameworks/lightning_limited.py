# needs: lightning
"""Lightning told to end an epoch after 5 batches (`limit_train_batches`)."""

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val", nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


data = TensorDataset(torch.randn(64, 8), torch.randint(4, (64,)))
trainer = L.Trainer(
    max_epochs=10,
    limit_train_batches=5,
    precision="bf16-mixed" if torch.cuda.is_available() else 32,
    gradient_clip_val=0.5,
    logger=CSVLogger("logs"),
    callbacks=[ModelCheckpoint(monitor="val"), EarlyStopping("val"), LearningRateMonitor()],
)
trainer.fit(Model(), DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=8))
