# needs: click
# arguments: --width 24 --no-amp run-name
"""Arguments by click, a positional one among them."""

import click
import torch
from torch import nn
from torch.utils.data import DataLoader


@click.command()
@click.argument("name")
@click.option("--width", type=int, default=8)
@click.option("--amp/--no-amp", default=True)
def main(name, width, amp):
    assert (name, width, amp) == ("run-name", 24, False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Linear(8, width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        for x in DataLoader(torch.randn(64, 8), batch_size=8):
            optimizer.zero_grad()
            model(x.to(device)).square().mean().backward()
            optimizer.step()


if __name__ == "__main__":
    main()
