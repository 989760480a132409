# needs: diffusers
"""diffusers' training style: a UNet, a noise scheduler, EMAModel and accelerate."""

import torch
from accelerate import Accelerator
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch.nn import functional as F
from torch.utils.data import DataLoader

accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
loader = DataLoader(torch.rand(32, 3, 16, 16) * 2 - 1, batch_size=4, shuffle=True)
blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
model = UNet2DModel(sample_size=16, layers_per_block=1, block_out_channels=(32, 32), norm_num_groups=8, **blocks)
ema = EMAModel(model.parameters(), decay=0.999, use_ema_warmup=True)
scheduler = DDPMScheduler(num_train_timesteps=100)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
rate = get_cosine_schedule_with_warmup(optimizer, 10, 100)
model, optimizer, loader, rate = accelerator.prepare(model, optimizer, loader, rate)
ema.to(accelerator.device)
for epoch in range(3):
    for images in loader:
        noise = torch.randn(images.shape, device=images.device)
        t = torch.randint(0, 100, (len(images),), device=images.device, dtype=torch.int64)
        noisy = scheduler.add_noise(images, noise, t)
        with accelerator.accumulate(model):
            loss = F.mse_loss(model(noisy, t, return_dict=False)[0], noise)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            ema.step(model.parameters())
    pipeline = DDPMPipeline(unet=accelerator.unwrap_model(model), scheduler=scheduler)
    pipeline(batch_size=2, num_inference_steps=20).images[0].save(f"sample{epoch}.png")
