"""Linear layers for inference on a CPU, by oneDNN's kernels.

Weights are packed in the order in which the kernels read them, or left plain. A kernel that takes a plain
row-major matrix rearranges it on every call or, for few tokens, walks it in strides; some processors read
plain weights fastest for one token. Some read packed weights faster for 4 tokens than for 1, so few rows may
be padded. Which layout is fastest is for the caller to measure. Such layers can neither train nor save their
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops.grouped import GroupedLinear, Groups, rows_of_groups

_ROWS_HINT = 1024
"""The number of tokens that oneDNN chooses the layout for. It chose the same for every number we tried."""

Padding = tuple[int, ...]
"""What few rows are padded to: n rows to the n-th entry; more rows than entries stay as they are."""


@dataclass(frozen=True)
class Layout:
    """How weights lie: `packed` or plain; and what few rows are padded to."""

    packed: bool = True
    padding: Padding = ()

    def of(self, weight: Tensor) -> Tensor:
        """A matrix (out, in) in this layout."""
        weight = weight.detach()
        return pack(weight) if self.packed else weight


_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("onednn_linear(Tensor x, Tensor weight, Tensor? bias, int out, int[] padding) -> Tensor")
_library.define(
    "onednn_grouped_linear(Tensor x, Tensor[] weights, Tensor ends, int out, int[] padding) -> Tensor"
)


def pack(weight: Tensor) -> Tensor:
    """A copy of a matrix (out, in) in the packed layout."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
    return packed


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, (rows, in) -> (rows, out), with a packed or a plain W."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return y


def _onednn_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int, padding: Sequence[int]
) -> Tensor:
    rows = x.flatten(0, -2)
    n_rows = rows.shape[0]
    if 0 < n_rows <= len(padding) and n_rows < padding[n_rows - 1]:
        rows = F.pad(rows, (0, 0, 0, padding[n_rows - 1] - n_rows))
    return multiply(rows, weight, bias)[:n_rows].view(*x.shape[:-1], out_features)


def _onednn_grouped_linear(
    x: Tensor, weights: list[Tensor], ends: Tensor, out_features: int, padding: Sequence[int]
) -> Tensor:
    return _by_groups(x, weights.__getitem__, ends, out_features, padding)


def _by_groups(
    x: Tensor, weight_of: Callable[[int], Tensor], ends: Tensor, out_features: int, padding: Sequence[int]
) -> Tensor:
    parts = [
        _onednn_linear(x[rows], weight_of(group), None, out_features, padding)
        for group, rows in rows_of_groups(ends)
    ]
    return torch.cat(parts) if parts else x.new_empty(0, out_features)


for _backend in ("CPU", "MkldnnCPU"):
    _library.impl("onednn_linear", _onednn_linear, _backend)
    _library.impl("onednn_grouped_linear", _onednn_grouped_linear, _backend)


def _shape(x: Tensor, weights: object, other: object, out_features: int, padding: Sequence[int]) -> Tensor:
    return x.new_empty(*x.shape[:-1], out_features)


torch.library.register_fake("archcmp::onednn_linear", _shape, lib=_library)
torch.library.register_fake("archcmp::onednn_grouped_linear", _shape, lib=_library)


class OnednnLinear(nn.Module):
    """y = x W^T + b, (..., in) -> (..., out), with the weights of a linear layer."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, layout: Layout = Layout()) -> None:
        super().__init__()
        self.out_features, self.padding = linear.out_features, layout.padding
        self.register_buffer("weight", layout.of(linear.weight), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # A call of a custom operator takes as long as a small product.
        multiply = torch.ops.archcmp.onednn_linear if torch.compiler.is_compiling() else _onednn_linear
        y: Tensor = multiply(x, self.weight, self.bias, self.out_features, self.padding)
        return y


class OnednnGroupedLinear(nn.Module):
    """y = x W_e^T + b_e, (N, in) -> (N, out), with the matrices of a grouped layer."""

    bias: Tensor | None

    def __init__(self, linear: GroupedLinear, layout: Layout = Layout()) -> None:
        super().__init__()
        self.n_groups, self.out_features, self.padding = linear.n_groups, linear.out_features, layout.padding
        for group, weight in enumerate(linear.weight.unbind()):
            self.register_buffer(f"weight{group}", layout.of(weight), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        y: Tensor
        options = (groups.ends, self.out_features, self.padding)
        if torch.compiler.is_compiling():
            weights = [self._weight(group) for group in range(self.n_groups)]
            y = torch.ops.archcmp.onednn_grouped_linear(x, weights, *options)
        else:
            y = _by_groups(x, self._weight, *options)
        return y if self.bias is None else y + self.bias.index_select(0, groups.of_row)

    def _weight(self, group: int) -> Tensor:
        weight: Tensor = getattr(self, f"weight{group}")
        return weight


def has_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN has kernels for weights of `dtype` on this processor."""
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
def use_onednn(module: nn.Module, layout: Layout = Layout()) -> None:
    """Have every linear layer inside `module` multiply by oneDNN's kernels, where the processor has them; for
    inference only. A packed head that was tied to the embedding has a copy of its own. Nothing here refers
    to a layer that was replaced, so its weights are freed before the next is packed."""
    linears = (nn.Linear, GroupedLinear)
    places = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, linears)
    ]
    for parent, name in places:
        setattr(parent, name, _replaced(getattr(parent, name), layout))


def _replaced(linear: nn.Linear | GroupedLinear, layout: Layout) -> nn.Module:
    if not has_kernels(linear.weight.device, linear.weight.dtype):
        return linear
    kind = OnednnLinear if isinstance(linear, nn.Linear) else OnednnGroupedLinear
    return kind(linear, layout)  # type: ignore[arg-type]
