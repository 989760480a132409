"""Embeddings with sparse gradients on the phantom GPU: their gradients are dense there, and the reader is told.

Which rows a sparse gradient holds depends on values that the phantom GPU does not have; a dense one holds them all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import PhantomTensor

if TYPE_CHECKING:
    from whichgpu.capture.function_mode import PhantomFunctions

DENSE = "Sparse gradients of an embedding are priced as dense ones: an upper bound, for every row counts as touched."
# Where functions take their weights and `sparse` by position.
PLACES: dict[Any, tuple[int, int]] = {
    torch.embedding: (0, 4),
    torch.embedding_bag: (0, 5),
    torch.nn.functional.embedding: (1, 6),
    torch.nn.functional.embedding_bag: (1, 7),
}


def embed(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Look rows up with dense gradients, where the weights are on the phantom GPU."""
    weight, place = PLACES[func]
    is_sparse = kwargs.get("sparse", args[place] if len(args) > place else False)
    is_here = isinstance(kwargs.get("weight", args[weight] if len(args) > weight else None), PhantomTensor)
    if not is_sparse or not is_here:
        return func(*args, **kwargs)
    if torch.is_grad_enabled():
        mode.device.tell(DENSE)
    if "sparse" in kwargs:
        return func(*args, **{**kwargs, "sparse": False})
    return func(*args[:place], False, *args[place + 1 :], **kwargs)


def install(patches: Patches) -> None:
    """Let SparseAdam take dense gradients, as Adam does."""

    class SparseAdam(torch.optim.Adam):  # type: ignore[misc]
        """Adam under the name, and with the arguments, of SparseAdam."""

        def __init__(
            self, params: Any, lr: Any = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, maximize: bool = False
        ) -> None:
            super().__init__(params, lr, betas, eps, maximize=maximize)

    patches.set(torch.optim, "SparseAdam", SparseAdam)
    patches.set(sys.modules["torch.optim.sparse_adam"], "SparseAdam", SparseAdam)
