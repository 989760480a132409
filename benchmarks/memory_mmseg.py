"""Segmentation by mmsegmentation, as its tables of models tell memory: the most allocated on one of several V100.

The models are written anew from its description: PSPNet on a dilated ResNet with an auxiliary head, SegFormer with
attention that returns its weights. Crops have a fixed size; training is float32 (or autocast in float16) by
DistributedDataParallel, whose buckets lie beside the gradients, with gradients cleared to zero and an optimizer of one
tensor after the other.

Source: open-mmlab/mmsegmentation v0.x, configs/pspnet, configs/segformer, mmseg/models (backbones/resnet.py,
backbones/mit.py, decode_heads/psp_head.py, decode_heads/segformer_head.py).
"""

from __future__ import annotations

from typing import Any

from benchmarks.softmax_of_its_day import softmax_of_torch_1_10
from whichgpu.graph import Job

# Layers of each stage of SegFormer's encoder, and its width.
_MIT = {
    "b0": (32, (2, 2, 2, 2)),
    "b1": (64, (2, 2, 2, 2)),
    "b2": (64, (3, 4, 6, 3)),
    "b3": (64, (3, 4, 18, 3)),
    "b4": (64, (3, 8, 27, 3)),
    "b5": (64, (3, 6, 40, 3)),
}
_RESNET = {"18": (2, 2, 2, 2), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}
CLASSES = {"ade20k": 150, "cityscapes": 19}


def captured(model: str, batch: int, image: tuple[int, int, int], half: bool) -> Job:
    """Return one step of a model by the name mmsegmentation gives it, such as "segformer_mit-b0_160k_ade20k"."""
    import torch
    from torch.nn import functional

    from whichgpu.capture import capture, phantom_gpu

    classes = CLASSES[model.rpartition("_")[2]]
    with phantom_gpu():
        with torch.device("cuda"):
            net = _segformer(model.split("-")[1][:2], classes) if "segformer" in model else _pspnet(model, classes)
        net.train()
        if "segformer" in model or "rsb" in model:
            optimizer: Any = torch.optim.AdamW(net.parameters(), lr=6e-5, foreach=False)
        else:
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=False)
        images = torch.randn(batch, *image).cuda()
        labels = torch.randint(0, classes, (batch, *image[1:])).cuda()

        def loss_of(logits: Any) -> Any:
            wide = functional.interpolate(logits, size=image[1:], mode="bilinear", align_corners=False)
            return functional.cross_entropy(wide.float(), labels, reduction="none").mean()

        def step() -> None:
            with torch.autocast("cuda", dtype=torch.float16, enabled=half):
                outs = net(images)
            loss = sum(loss_of(out) for out in outs)
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            optimizer.step()

        with softmax_of_torch_1_10():
            return capture(step, name=model, samples_per_step=batch, precision="amp-fp16" if half else "fp32")


def _pspnet(model: str, classes: int) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    name = model.split("_")[1]
    depth = "".join(c for c in name.split("-")[0] if c.isdecimal())
    plain_stem = name.split("-")[0].endswith("b")
    by_eight = "-d32" not in name
    strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if by_eight else ((1, 2, 2, 2), (1, 1, 1, 1))
    expansion = 1 if depth == "18" else 4

    def conv(into: int, out: int, size: int = 1, stride: int = 1, dilation: int = 1, relu: bool = True) -> Any:
        made = [
            nn.Conv2d(into, out, size, stride, dilation * (size // 2), dilation, bias=False),
            nn.BatchNorm2d(out),
        ]
        return nn.Sequential(*made, *([nn.ReLU(inplace=True)] if relu else []))

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self, into: int, width: int, stride: int, dilation: int) -> None:
            super().__init__()
            out = width * expansion
            if expansion == 1:
                self.body = nn.Sequential(conv(into, width, 3, stride, dilation), conv(width, width, 3, relu=False))
            else:
                self.body = nn.Sequential(
                    conv(into, width), conv(width, width, 3, stride, dilation), conv(width, out, relu=False)
                )
            self.shortcut = None if stride == 1 and into == out else conv(into, out, 1, stride, relu=False)

        def forward(self, x: Any) -> Any:
            return functional.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)), inplace=True)

    class PSPNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            if plain_stem:
                self.stem = conv(3, 64, 7, 2)
            else:
                self.stem = nn.Sequential(conv(3, 32, 3, 2), conv(32, 32, 3), conv(32, 64, 3))
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.stages, into = nn.ModuleList(), 64
            for place, count in enumerate(_RESNET[depth]):
                width, stage = 64 * 2**place, []
                for index in range(count):
                    first = 1 if index == 0 and dilations[place] > 1 else 0
                    dilation = dilations[place] // 2 if first else dilations[place]
                    stage.append(Residual(into, width, strides[place] if index == 0 else 1, dilation))
                    into = width * expansion
                self.stages.append(nn.Sequential(*stage))
            narrow = 512 if expansion == 4 else 128
            self.pyramid = nn.ModuleList(
                nn.Sequential(nn.AdaptiveAvgPool2d(s), conv(into, narrow)) for s in (1, 2, 3, 6)
            )
            self.bottleneck = conv(into + 4 * narrow, narrow, 3)
            self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(narrow, classes, 1))
            aside = into // 2 // 4
            self.aside = nn.Sequential(conv(into // 2, aside, 3), nn.Dropout2d(0.1), nn.Conv2d(aside, classes, 1))

        def forward(self, x: Any) -> Any:
            x = self.pool(self.stem(x))
            found = []
            for stage in self.stages:
                x = stage(x)
                found.append(x)
            pooled = [
                functional.interpolate(p(x), size=x.shape[2:], mode="bilinear", align_corners=False)
                for p in self.pyramid
            ]
            return self.head(self.bottleneck(torch.cat([x, *pooled], dim=1))), self.aside(found[2])

    return PSPNet()


def _segformer(size: str, classes: int) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    embed, layers = _MIT[size]

    def rows(x: Any) -> Any:
        return x.flatten(2).transpose(1, 2).contiguous()

    def grid(x: Any, shape: Any) -> Any:
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *shape).contiguous()

    class DropPath(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            keep = 0.9 + torch.rand((x.shape[0], 1, 1), device=x.device)
            return x.div(0.9) * keep.floor()

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self, width: int, heads: int, reduction: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, heads, bias=True, batch_first=True)
            self.reduce = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
            self.norm = nn.LayerNorm(width) if reduction > 1 else None
            self.up = nn.Conv2d(width, 4 * width, 1)
            self.around = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)
            self.down = nn.Conv2d(4 * width, width, 1)
            self.drop = DropPath()

        def forward(self, x: Any, shape: Any) -> Any:
            query = self.norm1(x)
            key = query if self.reduce is None else self.norm(rows(self.reduce(grid(query, shape))))  # type: ignore[misc]
            x = x + self.drop(self.attention(query, key, key)[0])
            wide = functional.gelu(self.around(self.up(grid(self.norm2(x), shape))))
            return x + self.drop(rows(self.down(wide)))

    class SegFormer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            heads, reductions, sizes, strides = (1, 2, 5, 8), (8, 4, 2, 1), (7, 3, 3, 3), (4, 2, 2, 2)
            widths = [embed * n for n in heads]
            self.patches = nn.ModuleList(
                nn.Conv2d(into, out, k, s, k // 2)
                for into, out, k, s in zip((3, *widths[:-1]), widths, sizes, strides, strict=True)
            )
            self.before = nn.ModuleList(nn.LayerNorm(w) for w in widths)
            self.after = nn.ModuleList(nn.LayerNorm(w) for w in widths)
            self.stages = nn.ModuleList(
                nn.ModuleList(Layer(w, h, r) for _ in range(n))
                for w, h, r, n in zip(widths, heads, reductions, layers, strict=True)
            )
            self.levels = nn.ModuleList(_conv(w, 256) for w in widths)
            self.fuse = _conv(4 * 256, 256)
            self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(256, classes, 1))

        def forward(self, x: Any) -> Any:
            found = []
            for patch, before, stage, after in zip(self.patches, self.before, self.stages, self.after, strict=True):
                x = patch(x)
                shape = x.shape[2:]
                x = before(rows(x))
                for layer in stage:
                    x = layer(x, shape)
                x = grid(after(x), shape)
                found.append(x)
            size = found[0].shape[2:]
            levels = [
                functional.interpolate(level(f), size=size, mode="bilinear", align_corners=False)
                for level, f in zip(self.levels, found, strict=True)
            ]
            return (self.head(self.fuse(torch.cat(levels, dim=1))),)

    def _conv(into: int, out: int) -> Any:
        return nn.Sequential(nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))

    return SegFormer()
