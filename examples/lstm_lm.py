"""Train an LSTM language model on made-up words, with truncated backpropagation through time and plain SGD."""

import argparse
import math
import time

import torch
import torch.nn as nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--emsize", type=int, default=200)
parser.add_argument("--nhid", type=int, default=200)
parser.add_argument("--nlayers", type=int, default=2)
parser.add_argument("--lr", type=float, default=20)
parser.add_argument("--clip", type=float, default=0.25)
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--batch-size", type=int, default=20)
parser.add_argument("--bptt", type=int, default=35)
parser.add_argument("--dropout", type=float, default=0.2)
parser.add_argument("--words", type=int, default=2000)
parser.add_argument("--length", type=int, default=100000)
args = parser.parse_args()

torch.manual_seed(1111)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batchify(data, size):
    rows = data.size(0) // size
    return data[: rows * size].view(size, -1).t().contiguous().to(device)


corpus = torch.randint(args.words, (args.length,))
train_data = batchify(corpus[: int(0.9 * args.length)], args.batch_size)
val_data = batchify(corpus[int(0.9 * args.length) :], 10)


class RNNModel(nn.Module):
    def __init__(self, words, emsize, nhid, nlayers, dropout):
        super().__init__()
        self.nlayers, self.nhid = nlayers, nhid
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(words, emsize)
        self.rnn = nn.LSTM(emsize, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, words)

    def forward(self, tokens, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(tokens)), hidden)
        return self.decoder(self.drop(output)).view(-1, self.decoder.out_features), hidden

    def init_hidden(self, size):
        weight = next(self.parameters())
        return weight.new_zeros(self.nlayers, size, self.nhid), weight.new_zeros(self.nlayers, size, self.nhid)


model = RNNModel(args.words, args.emsize, args.nhid, args.nlayers, args.dropout).to(device)
criterion = nn.CrossEntropyLoss()


def get_batch(source, i):
    length = min(args.bptt, len(source) - 1 - i)
    return source[i : i + length], source[i + 1 : i + 1 + length].reshape(-1)


def evaluate(source):
    model.eval()
    total, hidden = 0.0, model.init_hidden(10)
    with torch.no_grad():
        for i in range(0, source.size(0) - 1, args.bptt):
            data, targets = get_batch(source, i)
            output, hidden = model(data, hidden)
            total += len(data) * criterion(output, targets).item()
    return total / (len(source) - 1)


def train(epoch, lr):
    model.train()
    total, start, hidden = 0.0, time.time(), model.init_hidden(args.batch_size)
    for batch, i in enumerate(range(0, train_data.size(0) - 1, args.bptt)):
        data, targets = get_batch(train_data, i)
        model.zero_grad()
        hidden = tuple(h.detach() for h in hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        total += loss.item()
        if batch % 50 == 0 and batch > 0:
            average = total / 50
            print(f"epoch {epoch} batch {batch} ms/batch {(time.time() - start) * 20:.2f} ppl {math.exp(average):.2f}")
            total, start = 0.0, time.time()


lr, best = args.lr, None
for epoch in range(1, args.epochs + 1):
    train(epoch, lr)
    loss = evaluate(val_data)
    print(f"end of epoch {epoch}: valid loss {loss:.2f}")
    if best is None or loss < best:
        torch.save(model, "lstm.pt")
        best = loss
    else:
        lr /= 4.0
