"""Linear layers for inference on a CPU: weights are stored in the order in which matmul kernels read them.

A kernel that takes a plain row-major matrix rearranges it on every call, or, for few tokens, walks it in
strides. Some processors read packed weights faster for 4 tokens than for 1, so few rows may be padded. Which
layout is fastest is for the caller to measure. The layout is private to oneDNN, so a packed
model can neither train nor save its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops.grouped import GroupedLinear, Groups, rows_of_groups

_ROWS_HINT = 1024
"""The number of tokens that oneDNN chooses the layout for. It chose the same for every number we tried."""

Padding = tuple[int, ...]
"""What few rows are padded to: n rows to the n-th entry; more rows than entries stay as they are."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("packed_linear(Tensor x, Tensor weight, Tensor? bias, int out, int[] padding) -> Tensor")
_library.define(
    "packed_grouped_linear(Tensor x, Tensor[] weights, Tensor ends, int out, int[] padding) -> Tensor"
)


def pack(weight: Tensor) -> Tensor:
    """A copy of a matrix (out, in) in the packed layout."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
    return packed


def multiply_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, (rows, in) -> (rows, out), with a packed or a plain W."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return y


def _packed_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int, padding: Sequence[int]
) -> Tensor:
    rows = x.flatten(0, -2)
    n_rows = rows.shape[0]
    if n_rows <= len(padding) and n_rows < padding[n_rows - 1]:
        rows = F.pad(rows, (0, 0, 0, padding[n_rows - 1] - n_rows))
    return multiply_by_onednn(rows, weight, bias)[:n_rows].view(*x.shape[:-1], out_features)


def _packed_grouped_linear(
    x: Tensor, weights: list[Tensor], ends: Tensor, out_features: int, padding: Sequence[int]
) -> Tensor:
    return _by_groups(x, weights.__getitem__, ends, out_features, padding)


def _by_groups(
    x: Tensor, weight_of: Callable[[int], Tensor], ends: Tensor, out_features: int, padding: Sequence[int]
) -> Tensor:
    parts = [
        _packed_linear(x[rows], weight_of(group), None, out_features, padding)
        for group, rows in rows_of_groups(ends)
    ]
    return torch.cat(parts) if parts else x.new_empty(0, out_features)


for _backend in ("CPU", "MkldnnCPU"):
    _library.impl("packed_linear", _packed_linear, _backend)
    _library.impl("packed_grouped_linear", _packed_grouped_linear, _backend)


def _shape(x: Tensor, weights: object, other: object, out_features: int, padding: Sequence[int]) -> Tensor:
    return x.new_empty(*x.shape[:-1], out_features)


torch.library.register_fake("archcmp::packed_linear", _shape, lib=_library)
torch.library.register_fake("archcmp::packed_grouped_linear", _shape, lib=_library)


class PackedLinear(nn.Module):
    """y = x W^T + b, (..., in) -> (..., out), with a packed copy of a linear layer's weights."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, padding: Padding = ()) -> None:
        super().__init__()
        self.out_features, self.padding = linear.out_features, padding
        self.register_buffer("weight", pack(linear.weight.detach()), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # A call of a custom operator takes as long as a small product.
        multiply = torch.ops.archcmp.packed_linear if torch.compiler.is_compiling() else _packed_linear
        y: Tensor = multiply(x, self.weight, self.bias, self.out_features, self.padding)
        return y


class PackedGroupedLinear(nn.Module):
    """y = x W_e^T + b_e, (N, in) -> (N, out), with packed copies of a grouped layer's matrices."""

    bias: Tensor | None

    def __init__(self, linear: GroupedLinear, padding: Padding = ()) -> None:
        super().__init__()
        self.n_groups, self.out_features, self.padding = linear.n_groups, linear.out_features, padding
        for group, weight in enumerate(linear.weight.detach().unbind()):
            self.register_buffer(f"weight{group}", pack(weight), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        y: Tensor
        options = (groups.ends, self.out_features, self.padding)
        if torch.compiler.is_compiling():
            weights = [self._weight(group) for group in range(self.n_groups)]
            y = torch.ops.archcmp.packed_grouped_linear(x, weights, *options)
        else:
            y = _by_groups(x, self._weight, *options)
        return y if self.bias is None else y + self.bias.index_select(0, groups.of_row)

    def _weight(self, group: int) -> Tensor:
        weight: Tensor = getattr(self, f"weight{group}")
        return weight


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this processor has kernels for packed weights of `dtype`."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.float32:
        return True
    native = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return dtype in native and bool(native[dtype]())


@torch.no_grad()
def pack_linears(module: nn.Module, padding: Padding = ()) -> None:
    """Replace every linear layer inside `module` by a packed one, where the processor can; for inference
    only. Few rows are padded as `padding` says. A head tied to the embedding gets a packed copy of its own.
    Nothing here refers to a layer that was replaced, so its weights are freed before the next is packed."""
    linears = (nn.Linear, GroupedLinear)
    places = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, linears)
    ]
    for parent, name in places:
        setattr(parent, name, _packed(getattr(parent, name), padding))


def _packed(linear: nn.Linear | GroupedLinear, padding: Padding) -> nn.Module:
    """The layer packed, where the processor can."""
    if not can_pack(linear.weight.device, linear.weight.dtype):
        return linear
    packed = PackedLinear if isinstance(linear, nn.Linear) else PackedGroupedLinear
    return packed(linear, padding)  # type: ignore[arg-type]
