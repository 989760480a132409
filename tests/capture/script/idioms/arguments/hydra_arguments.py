# needs: hydra
# arguments: model.width=24 +trainer.epochs=5 hydra.job.chdir=true
# file conf/config.yaml: model: {width: 8}
"""Hydra: a configuration file, overrides of the form key=value, a working folder of its own for every run."""

import hydra
import torch
from torch import nn
from torch.utils.data import DataLoader


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    assert cfg.model.width == 24
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Linear(8, cfg.model.width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(cfg.trainer.epochs):
        for x in DataLoader(torch.randn(64, 8), batch_size=8):
            optimizer.zero_grad()
            model(x.to(device)).square().mean().backward()
            optimizer.step()
        torch.save(model.state_dict(), "last.pt")


if __name__ == "__main__":
    main()
