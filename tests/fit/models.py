"""A small transformer trained on the phantom GPU, plainly or with one of the changes really made."""

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from whichgpu import capture, phantom_gpu

WIDTH, LAYERS, TOKENS = 256, 4, 128


class Block(torch.nn.Module):
    """Attention and a perceptron, with residual connections and dropout."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.qkv, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).view(*x.shape[:2], 3, 4, WIDTH // 4).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + functional.dropout(self.out(attended), 0.1)
        return x + functional.dropout(self.down(functional.gelu(self.up(self.norm2(x)))), 0.1)


class Model(torch.nn.Module):
    def __init__(self, checkpointed=False):
        super().__init__()
        self.embed, self.head = torch.nn.Embedding(1000, WIDTH), torch.nn.Linear(WIDTH, 1000)
        self.layers = torch.nn.ModuleList(Block() for _ in range(LAYERS))
        self.checkpointed = checkpointed

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x)
        return self.head(x)


def trained(batch, *, checkpointed=False, micro_batches=1, fused=False, half=False, optimizer=None):
    """Return the captured step of `batch` samples."""
    with phantom_gpu():
        model = Model(checkpointed).cuda()
        if half:
            model = model.to(torch.bfloat16)
        make = optimizer or (lambda p: torch.optim.AdamW(p, fused=fused or None))
        updating = make(model.parameters())
        tokens = torch.randint(0, 1000, (batch // micro_batches, TOKENS)).cuda()

        def step():
            updating.zero_grad()
            for _ in range(micro_batches):
                logits = model(tokens)
                functional.cross_entropy(logits.view(-1, 1000), tokens.view(-1)).backward()
            updating.step()

        return capture(step, name="small", samples_per_step=batch, precision="bf16" if half else "fp32")
