# arguments: --amp --channels-last --model-ema --clip-grad 1.0
"""timm-style: channels_last, NativeScaler, mixup on the device, model EMA, an AverageMeter, update frequency."""

import argparse
import time
from contextlib import suppress

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--amp", action="store_true")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--model-ema", action="store_true")
parser.add_argument("--clip-grad", type=float)
parser.add_argument("--grad-accum-steps", type=int, default=1)
args = parser.parse_args()


class NativeScaler:
    def __init__(self, device):
        self._scaler = torch.amp.GradScaler(device=device)

    def __call__(self, loss, optimizer, clip_grad, parameters):
        self._scaler.scale(loss).backward()
        if clip_grad is not None:
            self._scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(parameters, clip_grad)
        self._scaler.step(optimizer)
        self._scaler.update()


class Meter:
    def __init__(self):
        self.sum = self.count = 0

    def update(self, value, n=1):
        self.sum, self.count = self.sum + value * n, self.count + n


def mixup(x, target, classes, alpha=0.2):
    lam = torch.distributions.Beta(alpha, alpha).sample().item()
    one_hot = torch.nn.functional.one_hot(target, classes).float()
    return x * lam + x.flip(0) * (1 - lam), one_hot * lam + one_hot.flip(0) * (1 - lam)


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(16, 10),
)  # fmt: skip
model.to(device=device)
if args.channels_last:
    model.to(memory_format=torch.channels_last)
ema = torch.optim.swa_utils.AveragedModel(model) if args.model_ema else None
decay = [p for p in model.parameters() if p.ndim > 1]
no_decay = [p for p in model.parameters() if p.ndim <= 1]
optimizer = torch.optim.AdamW([{"params": decay}, {"params": no_decay, "weight_decay": 0.0}], lr=1e-3)
amp_autocast = (lambda: torch.autocast(device.type, dtype=torch.float16)) if args.amp else suppress
scaler = NativeScaler(device.type)
loader = DataLoader(TensorDataset(torch.randn(64, 3, 16, 16), torch.randint(10, (64,))), batch_size=8, shuffle=True)
losses, batch_time, end = Meter(), Meter(), time.time()
for epoch in range(10):
    model.train()
    for index, (x, target) in enumerate(loader):
        x, target = x.to(device), target.to(device)
        x, target = mixup(x, target, 10)
        if args.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with amp_autocast():
            loss = torch.sum(-target * model(x).log_softmax(dim=-1), dim=-1).mean()
        losses.update(loss.item(), x.size(0))
        optimizer.zero_grad()
        scaler(loss, optimizer, args.clip_grad, model.parameters())
        if ema is not None:
            ema.update_parameters(model)
        if device.type == "cuda":
            torch.cuda.synchronize()
        batch_time.update(time.time() - end)
        end = time.time()
