# needs: peft
# options: memory_gib=20
"""Llama 3 8B with LoRA by peft, in bfloat16, the base model frozen."""

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    use_cache=False,
)
with torch.device("cuda" if torch.cuda.is_available() else "meta"):
    model = LlamaForCausalLM(config).to(torch.bfloat16)
model.enable_input_require_grads()
model = get_peft_model(
    model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
)
model.print_trainable_parameters()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for batch in DataLoader(torch.randint(0, 128_256, (64, 1024)), batch_size=2):
    batch = batch.to("cuda")
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
