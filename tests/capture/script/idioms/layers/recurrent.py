"""LSTM over packed sequences of different lengths, and a bidirectional GRU, as cuDNN runs them."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 24, num_layers=2, dropout=0.1, batch_first=True)
        self.gru = nn.GRU(24, 12, bidirectional=True, batch_first=True)
        self.out = nn.Linear(24, 5)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.out(self.gru(out)[0])


def collate(rows):
    return pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


device = "cuda" if torch.cuda.is_available() else "cpu"
data = [torch.randint(1, 50, (5 + i % 7,)) for i in range(64)]
loader = DataLoader(data, batch_size=8, collate_fn=collate)
model = Tagger().to(device)
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(3):
    for tokens, lengths in loader:
        tokens, lengths = tokens.to(device), lengths.to(device)
        loss = nn.functional.cross_entropy(model(tokens, lengths).flatten(0, 1), (tokens % 5).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
