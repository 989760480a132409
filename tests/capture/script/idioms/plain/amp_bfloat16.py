"""Mixed precision in bfloat16, no scaler, with TF32 for the rest."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
torch.backends.cudnn.benchmark = True
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
loader = DataLoader(TensorDataset(torch.randn(64, 12, 32)), batch_size=8)
layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).to(device)
optimizer = torch.optim.AdamW(model.parameters(), fused=device.type == "cuda")
dtype = torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
for epoch in range(3):
    for (x,) in loader:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
            loss = model(x.to(device)).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
