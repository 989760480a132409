# needs: transformers
# options: memory_gib=3
"""A model of 8 billion parameters built on the CPU and then moved: its weights take no memory here either."""

import torch
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, use_cache=False)
model = LlamaForCausalLM(config).to(torch.bfloat16).to("cuda" if torch.cuda.is_available() else "cpu")
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for batch in DataLoader(torch.randint(0, 32_000, (16, 512)), batch_size=1):
    batch = batch.to(model.device)
    model(input_ids=batch, labels=batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
