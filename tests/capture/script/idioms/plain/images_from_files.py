"""Photographs decoded from JPEG files by a DataLoader's workers, several epochs, a scheduler."""

from pathlib import Path

import numpy as np
import sklearn
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Photographs(Dataset):
    def __init__(self, size=64):
        self.files = sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg"))
        self.size = size

    def __len__(self):
        return 48

    def __getitem__(self, index):
        image = Image.open(self.files[index % len(self.files)]).convert("RGB")
        image = image.crop((index, index, index + 256, index + 256)).resize((self.size, self.size))
        return torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1).float(), index % 2


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
loader = DataLoader(Photographs(), batch_size=8, shuffle=True, num_workers=2, pin_memory=True, drop_last=True)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 2),
).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, epochs=3, steps_per_epoch=len(loader))
for epoch in range(3):
    for images, labels in loader:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
