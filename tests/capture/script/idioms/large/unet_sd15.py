# needs: diffusers
# options: memory_gib=20
"""The U-Net of Stable Diffusion 1.5 from its configuration, a latent and a text embedding a sample, float16."""

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Latents(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.randn(4, 64, 64), torch.randn(77, 768)


with torch.device("cuda"):
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8
    )
scheduler = DDPMScheduler(num_train_timesteps=1000)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5)
scaler = torch.amp.GradScaler("cuda")
for latents, text in DataLoader(Latents(), batch_size=8):
    latents, text = latents.cuda(), text.cuda()
    noise, t = torch.randn_like(latents), torch.randint(0, 1000, (len(latents),), device="cuda")
    with torch.autocast("cuda", torch.float16):
        loss = F.mse_loss(unet(scheduler.add_noise(latents, noise, t), t, text).sample, noise)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
