"""Linear layers for inference on a CPU: weights are stored in the order in which matmul kernels read them.

A kernel that takes a plain row-major matrix rearranges it on every call, or, for one token, reads it in
strides: on two cores one bfloat16 token reads a plain matrix at 16 to 20 GB/s and a packed one at 30 to 45.
The layout is private to oneDNN, so a packed model can neither train nor save its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops.grouped import GroupedLinear, Groups, rows_of_groups

_ROWS_HINT = 1024
"""The number of tokens that oneDNN chooses the layout for. It chose the same for every number we tried."""

_FEWEST_ROWS = 4
"""Fewer rows are padded: the kernel for 4 tokens reads weights about 1.3 times as fast as that for 1."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("packed_linear(Tensor x, Tensor weight, Tensor? bias, int out_features) -> Tensor")
_library.define("packed_grouped_linear(Tensor x, Tensor[] weights, Tensor ends, int out_features) -> Tensor")


def _packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    rows = x.flatten(0, -2)
    n_rows = rows.shape[0]
    if n_rows < _FEWEST_ROWS:
        rows = F.pad(rows, (0, 0, 0, _FEWEST_ROWS - n_rows))
    y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return y[:n_rows].view(*x.shape[:-1], out_features)


def _packed_grouped_linear(x: Tensor, weights: list[Tensor], ends: Tensor, out_features: int) -> Tensor:
    y = x.new_empty(x.shape[0], out_features)
    for group, rows in rows_of_groups(ends):
        y[rows] = _packed_linear(x[rows], weights[group], None, out_features)
    return y


for _backend in ("CPU", "MkldnnCPU"):
    _library.impl("packed_linear", _packed_linear, _backend)
    _library.impl("packed_grouped_linear", _packed_grouped_linear, _backend)


def _packed_linear_shape(x: Tensor, weight: Tensor, bias: Tensor | None, out_features: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], out_features)


def _packed_grouped_linear_shape(x: Tensor, weights: list[Tensor], ends: Tensor, out_features: int) -> Tensor:
    return x.new_empty(x.shape[0], out_features)


torch.library.register_fake("archcmp::packed_linear", _packed_linear_shape, lib=_library)
torch.library.register_fake("archcmp::packed_grouped_linear", _packed_grouped_linear_shape, lib=_library)


class PackedLinear(nn.Module):
    """y = x W^T + b, (..., in) -> (..., out), with a packed copy of a linear layer's weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS_HINT)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.archcmp.packed_linear(x, self.weight, self.bias, self.out_features)
        return y


class PackedGroupedLinear(nn.Module):
    """y = x W_e^T + b_e, (N, in) -> (N, out), with packed copies of a grouped layer's matrices."""

    bias: Tensor | None

    def __init__(self, linear: GroupedLinear) -> None:
        super().__init__()
        self.n_groups, self.out_features = linear.n_groups, linear.out_features
        for group, weight in enumerate(linear.weight.detach().unbind()):
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
            self.register_buffer(f"weight{group}", packed, persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        weights = [getattr(self, f"weight{group}") for group in range(self.n_groups)]
        y: Tensor = torch.ops.archcmp.packed_grouped_linear(x, weights, groups.ends, self.out_features)
        return y if self.bias is None else y + self.bias.index_select(0, groups.of_row)


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
def pack_linears(module: nn.Module) -> None:
    """Replace every linear layer inside `module` by a packed one, where the processor has kernels for it; for
    inference only. A head tied to the embedding gets a packed copy of its own. No reference to a replaced
    layer is kept, so its weights are freed before the next layer is packed."""
    linears = (nn.Linear, GroupedLinear)
    places = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, linears)
    ]
    for parent, name in places:
        setattr(parent, name, _packed(getattr(parent, name)))


def _packed(linear: nn.Linear | GroupedLinear) -> nn.Module:
    """The layer, packed where the processor has kernels for it."""
    if not can_pack(linear.weight.device, linear.weight.dtype):
        return linear
    return PackedLinear(linear) if isinstance(linear, nn.Linear) else PackedGroupedLinear(linear)
