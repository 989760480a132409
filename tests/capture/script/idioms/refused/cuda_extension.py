"""A CUDA extension compiled when the script starts."""

import torch
from torch.utils.cpp_extension import load_inline

SOURCE = "__global__ void k(float* x) { x[threadIdx.x] += 1; } torch::Tensor f(torch::Tensor x) { return x; }"
module = load_inline("mine", cpp_sources="torch::Tensor f(torch::Tensor x);", cuda_sources=SOURCE, functions=["f"])
module.f(torch.zeros(4).cuda())
