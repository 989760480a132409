"""A validation loop, a scheduler that looks at its loss, the best checkpoint and early stopping after every epoch."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

device = "cuda" if torch.cuda.is_available() else "cpu"
data = TensorDataset(torch.randn(120, 8), torch.randint(4, (120,)))
train_set, val_set = random_split(data, [100, 20])
train_loader, val_loader = DataLoader(train_set, batch_size=10, shuffle=True), DataLoader(val_set, batch_size=5)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
best, waited = float("inf"), 0
for epoch in range(20):
    model.train()
    for x, y in train_loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for x, y in val_loader:
            total += criterion(model(x.to(device)), y.to(device)).item()
    scheduler.step(total)
    if total < best:
        best, waited = total, 0
        torch.save(model.state_dict(), "best.pt")
    else:
        waited += 1
        if waited == 5:
            break
model.load_state_dict(torch.load("best.pt", weights_only=True))
