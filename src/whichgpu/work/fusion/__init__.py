"""What a compiler would run: ops of an eager graph fused into fewer kernels, as torch.compile's default mode does."""

from whichgpu.work.fusion.fuse import fuse_graph

__all__ = ["fuse_graph"]
