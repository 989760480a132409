"""Questions to torch.cuda: properties, memory, events that time the step, cuDNN and NCCL versions."""

import torch
from torch import nn

device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
model = nn.Linear(256, 256).to(device)
optimizer = torch.optim.Adam(model.parameters())
if device.type == "cuda":
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info()
    print(torch.cuda.get_device_name(), properties.total_memory, properties.multi_processor_count, free, total)
    print(torch.version.cuda, torch.backends.cudnn.version(), torch.cuda.get_device_capability())
    torch.cuda.reset_peak_memory_stats()
for step in range(100):
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
    loss = model(torch.randn(32, 256, device=device)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if device.type == "cuda":
        end.record()
        torch.cuda.synchronize()
        print(start.elapsed_time(end), torch.cuda.max_memory_allocated() / 2**20, torch.cuda.memory_reserved())
        torch.cuda.empty_cache()
