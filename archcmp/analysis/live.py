"""What is alive on the meta device: each storage once, from the operator that makes it until it is freed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
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


OUTSIDE = 0
"""The number of every storage that does not count."""


class Live(ShapesOnly):
    """Follows the tensors on meta that operators make within this context. Every storage has a number of its
    own; its address may be that of an earlier one, which was freed. `changes` says in order which storages
    were made and freed. Tensors that are `outside`, and views of them, do not count. `on_selected` is called
    with the bytes of every result that selective recomputation keeps."""

    def __init__(
        self, outside: Iterable[Tensor] = (), on_selected: Callable[[int], None] = lambda nbytes: None
    ) -> None:
        super().__init__()
        self.changes: list[tuple[int, int]] = []
        """The number of a storage and its bytes, less than 0 where it was freed."""
        self.on_selected = on_selected
        self._numbers = {key_of(tensor): OUTSIDE for tensor in outside}
        self._references: dict[int, Any] = {}

    def number_of(self, tensor: Tensor) -> int:
        """The number of a tensor's storage, which is a new one where no operator of this context made it."""
        storage = tensor.untyped_storage()
        key, nbytes = storage._cdata, storage.nbytes()
        if key not in self._numbers:
            number = self._numbers[key] = len(self.changes) + 1

            def freed(_: Any) -> None:
                del self._numbers[key], self._references[number]
                self.changes.append((number, -nbytes))

            self._references[number] = weakref.ref(storage, freed)
            self.changes.append((number, nbytes))
        return self._numbers[key]

    def most(self, start: int = 0, without: Collection[int] = ()) -> tuple[int, set[int]]:
        """The most bytes that are alive at once after the first `start` changes, and the numbers of the
        storages that are alive then. Storages whose numbers are in `without` do not count."""
        counted = [0 if number in without else nbytes for number, nbytes in self.changes]
        totals = list(accumulate(counted, initial=0))
        end = max(range(start, len(totals)), key=totals.__getitem__)
        alive: set[int] = set()
        for number, _ in self.changes[:end]:
            alive ^= {number}
        return totals[end], alive

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = super().__torch_dispatch__(func, types, args, kwargs)
        for result in tree_leaves(results):
            if isinstance(result, Tensor) and result.is_meta:
                self.number_of(result)
                if func in SELECTED:
                    self.on_selected(result.nbytes)
        return results
