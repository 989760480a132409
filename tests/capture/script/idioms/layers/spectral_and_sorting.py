"""FFT, STFT, interpolate, grid_sample, sort, topk, gather and cumsum in one model."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(8, 17, dtype=torch.cfloat))
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=x.shape[-2:])
        x = F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)
        grid = F.affine_grid(torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1), x.shape, align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False).flatten(2)
        ordered, places = x.sort(dim=-1)
        best, index = ordered.topk(16, dim=-1)
        return best.cumsum(-1) + x.gather(-1, places[..., :16]) + x.flatten(1).std(-1).view(-1, 1, 1) + index * 0


device = "cuda" if torch.cuda.is_available() else "cpu"
model = Model().to(device)
window = torch.hann_window(64, device=device)
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(3):
    for x in DataLoader(torch.randn(32, 8, 8, 32), batch_size=4):
        x = x.to(device)
        spectrum = torch.stft(x.flatten(1), 64, window=window, return_complex=True).abs()
        loss = model(x).mean() + spectrum.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
