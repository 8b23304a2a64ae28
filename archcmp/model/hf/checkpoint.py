"""A folder of safetensors files as one mapping, read a tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from archcmp.errors import WeightsError

StateDict = Mapping[str, Tensor]

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class SafetensorsFolder(Mapping[str, Tensor]):
    """The tensors of a checkpoint folder, read one at a time as they are asked for, so that no more than one
    is in memory. Raises WeightsError for a folder without any; pickles, which can run code, are refused."""

    def __init__(self, folder: Path) -> None:
        self._file_of: dict[str, Path] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            pickled = next((file.name for pattern in PICKLES for file in folder.glob(pattern)), None)
            why = f"; {pickled} is a pickle, which could run any code" if pickled else ""
            raise WeightsError(f"{folder}: no .safetensors files there{why}")
        for file in files:
            try:
                with safe_open(file, framework="pt") as opened:
                    self._file_of.update(dict.fromkeys(opened.keys(), file))
            except (SafetensorError, OSError, json.JSONDecodeError) as error:
                raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._file_of[name], framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
            return tensor

    def header(self, name: str) -> tuple[tuple[int, ...], bool]:
        """The shape of a tensor and whether it is floating point, without reading its values."""
        with safe_open(self._file_of[name], framework="pt") as opened:
            entry = opened.get_slice(name)
            return tuple(entry.get_shape()), "F" in entry.get_dtype()

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def header(weights: StateDict, name: str) -> tuple[tuple[int, ...], bool]:
    """The shape of a tensor and whether it is floating point."""
    if isinstance(weights, SafetensorsFolder):
        return weights.header(name)
    return tuple(weights[name].shape), weights[name].is_floating_point()
