"""What is alive on the meta device: each storage once, from the operator that makes it until it is freed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from archcmp.analysis.meta import ShapesOnly
from archcmp.model.ops.kernels import key_of

aten = torch.ops.aten
SELECTED = frozenset(
    [aten.mm.default, aten.addmm.default, aten.bmm.default, torch.ops.archcmp.grouped_linear.default]
)
"""Operators whose results selective recomputation keeps, beside the kernels of archcmp's own."""


class Live(ShapesOnly):
    """Counts the bytes of the tensors on meta that operators make within this context: `now`, and the `most`
    since the last `reset`, when `storages` were alive. Tensors that are `outside` do not count, nor do views
    of them. `on_selected` is called with the bytes of every result that selective recomputation keeps."""

    def __init__(
        self, outside: Iterable[Tensor] = (), on_selected: Callable[[int], None] = lambda nbytes: None
    ) -> None:
        super().__init__()
        self.now = self.most = 0
        self.storages: set[int] = set()
        self.on_selected = on_selected
        self._known: dict[int, Any] = {key_of(tensor): None for tensor in outside}

    def reset(self) -> None:
        self.most = self.now

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = super().__torch_dispatch__(func, types, args, kwargs)
        for result in tree_leaves(results):
            if isinstance(result, Tensor) and result.is_meta:
                self._see(result)
                if func in SELECTED:
                    self.on_selected(result.nbytes)
        return results

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, nbytes = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def freed(_: Any) -> None:
            self._known.pop(key, None)
            self.now -= nbytes

        self._known[key] = weakref.ref(storage, freed)
        self.now += nbytes
        if self.now > self.most:
            self.most, self.storages = self.now, set(self._known)
