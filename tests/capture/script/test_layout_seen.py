"""The memory format that is told of a script: read from what its convolutions give."""

import pytest

from whichgpu import workload
from whichgpu.capture.script.layout_seen import layout_seen
from whichgpu.graph import Graph, Op, Tensor


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_of_a_built_in_job_it_is_what_the_job_says(layout):
    assert layout_seen(workload("resnet50", batch=4, layout=layout).graph) == layout


def test_without_images_there_is_none():
    assert layout_seen(workload("gpt2", batch=1).graph) == ""


def test_the_layout_of_most_elements_counts_and_one_that_is_both_does_not():
    def convolution(shape, stride=None):
        return Op("aten.convolution.default", {}, (Tensor(shape, "float32", stride),))

    small_last = convolution((1, 2, 4, 4), (32, 1, 8, 2))
    large = convolution((1, 8, 4, 4))
    assert layout_seen(Graph((small_last, large))) == "nchw"
    assert layout_seen(Graph((small_last, small_last, convolution((1, 2, 4, 2))))) == "channels_last"
    sequence = convolution((1, 8, 16))
    assert layout_seen(Graph((sequence,))) == ""
