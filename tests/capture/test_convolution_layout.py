"""How the results of convolutions lie in memory: as cuDNN leaves them, and so what everything after them reads."""

import pytest
import torch

import whichgpu

LAST = torch.channels_last


@pytest.mark.parametrize(
    ("window", "of_input", "of_weight", "of_output"),
    [
        (3, torch.contiguous_format, torch.contiguous_format, torch.contiguous_format),
        (3, LAST, torch.contiguous_format, LAST),
        (3, torch.contiguous_format, LAST, LAST),
        (3, LAST, LAST, LAST),
        # A weight of 1x1 lies the same either way: the input alone decides.
        (1, torch.contiguous_format, torch.contiguous_format, torch.contiguous_format),
        (1, LAST, torch.contiguous_format, LAST),
    ],
)
def test_channels_innermost_stay_innermost(window, of_input, of_weight, of_output):
    with whichgpu.phantom_gpu():
        images = torch.randn(2, 8, 16, 16, device="cuda").to(memory_format=of_input)
        weight = torch.randn(4, 8, window, window, device="cuda").to(memory_format=of_weight)
        out = torch.nn.functional.conv2d(images, weight)
        assert out.is_contiguous(memory_format=of_output)
        assert not out.is_contiguous(memory_format=LAST if of_output is not LAST else torch.contiguous_format)


def test_float64_has_its_channels_outermost():
    with whichgpu.phantom_gpu():
        images = torch.randn(2, 8, 16, 16, device="cuda", dtype=torch.float64).to(memory_format=LAST)
        weight = torch.randn(4, 8, 3, 3, device="cuda", dtype=torch.float64)
        assert torch.nn.functional.conv2d(images, weight).is_contiguous()


def test_volumes_too():
    with whichgpu.phantom_gpu():
        volumes = torch.randn(2, 4, 8, 8, 8, device="cuda").to(memory_format=torch.channels_last_3d)
        out = torch.nn.Conv3d(4, 8, 3).cuda()(volumes)
        assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_channels_last_net_copies_nothing_from_layout_to_layout():
    with whichgpu.phantom_gpu():
        block = (torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
        model = torch.nn.Sequential(*block, torch.nn.Conv2d(8, 8, 1), torch.nn.Upsample(scale_factor=2))
        model = model.cuda().to(memory_format=LAST)
        images = torch.randn(2, 8, 16, 16, device="cuda").to(memory_format=LAST)
        job = whichgpu.capture(lambda: model(images).pow(2).sum().backward(), name="block", samples_per_step=2)
    for op in job.graph.ops:
        for tensor in (*op.input_tensors(), *op.output_tensors()):
            # Of the loss, whose gradient is one number expanded, the layout is no question.
            if len(tensor.shape) == 4 and min(tensor.shape[1:]) > 1 and 0 not in (tensor.stride or (0,)):
                assert tensor.is_channels_last, (op.name, tensor)
