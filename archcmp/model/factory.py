"""The device and the dtype of new tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def factory(device: str | torch.device, dtype: torch.dtype) -> Iterator[None]:
    """New floating-point tensors are made on `device` in `dtype`, directly: no float32 copy is ever held."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
