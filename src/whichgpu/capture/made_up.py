"""Tensors on the host whose values were read back from the phantom GPU, which had none."""

from __future__ import annotations

import torch
from torch.multiprocessing.reductions import StorageWeakRef


class MadeUp:
    """Memory of the host that holds placeholders: what is made of it on the device is as unknown as it was there.

    Memory counts as a whole, for as long as it lives; what the host itself computes from it is taken as known.
    """

    def __init__(self) -> None:
        self._storages: dict[int, StorageWeakRef] = {}

    def note(self, tensor: torch.Tensor) -> None:
        """Note that placeholders were written to a tensor's memory."""
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = StorageWeakRef(storage)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor's memory holds any."""
        if not self._storages or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return False
        place = tensor.untyped_storage().data_ptr()
        found = self._storages.get(place)
        if found is not None and found.expired():
            # Other memory has this place by now.
            del self._storages[place]
            return False
        return found is not None
