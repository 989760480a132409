"""torch.device while a phantom GPU is there."""

import copy
import pickle
from typing import get_type_hints

import pytest

import whichgpu

torch = pytest.importorskip("torch")


def test_a_number_names_a_gpu():
    plain = torch.device
    with whichgpu.phantom_gpu():
        assert torch.device(0) == torch.device("cuda", 0) == torch.device("cuda:0")
        assert torch.device("cpu").type == "cpu"
        assert torch.ones(2, device=torch.device(0)).device.index == 0
        assert isinstance(torch.device("cpu"), torch.device)
        assert type(torch.device("cpu")) == torch.device  # noqa: E721
        assert {plain: 1}[torch.device] == 1

        def typed(where: torch.device | None) -> None: ...

        assert get_type_hints(typed)["where"] == torch.device | None
        assert pickle.loads(pickle.dumps(torch.device("cpu"))) == copy.deepcopy(torch.device("cpu"))
        with torch.device("meta"):
            assert torch.ones(2).is_meta
    assert torch.device is plain
