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


SUFFIX = ".safetensors"
WHOLE, INDEX = f"model{SUFFIX}", f"model{SUFFIX}.index.json"


def _is_here(folder: Path, name: object) -> bool:
    """Whether `name` is the plain name of a safetensors file in the folder, perhaps as a link to one."""
    return (
        isinstance(name, str)
        and name.endswith(SUFFIX)
        and not set(name) & set("/\\\0")
        and (folder / name).is_file()
    )


def _files(folder: Path) -> list[Path]:
    """The files that hold the weights: the files that the index names and the unsharded one, or, without an
    index, all safetensors files. Raises WeightsError for an index that names a file elsewhere."""
    index = folder / INDEX
    if not index.exists():
        return sorted(folder.glob(f"*{SUFFIX}"))
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{index}: not a readable index of safetensors files") from None
    if elsewhere := [name for name in names if not _is_here(folder, name)]:
        first = repr(min(elsewhere, key=str))[:80]
        raise WeightsError(f"{index}: {first} is not the plain name of a {SUFFIX} file in this folder")
    return sorted({folder / name for name in names} | set(folder.glob(WHOLE)))


class SafetensorsFolder(Mapping[str, Tensor]):
    """The tensors of a checkpoint folder. Each is read when it is asked for, so that only one is in memory.
    Raises WeightsError for a folder without safetensors files and for a tensor that is in two files. Pickles,
    which can run code, are refused."""

    def __init__(self, folder: Path) -> None:
        self._file_of: dict[str, Path] = {}
        files = _files(folder)
        if not files:
            pickled = next((file.name for pattern in PICKLES for file in folder.glob(pattern)), None)
            why = f"; {pickled} is a pickle, which could run any code" if pickled else ""
            raise WeightsError(f"{folder}: no .safetensors files there{why}")
        for file in files:
            try:
                with safe_open(file, framework="pt") as opened:
                    names = list(opened.keys())
            except (SafetensorError, OSError, json.JSONDecodeError) as error:
                raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None
            if twice := sorted(self._file_of.keys() & set(names)):
                first = self._file_of[twice[0]].name
                raise WeightsError(f"{folder}: {twice[0]} is in two files, {first} and {file.name}")
            self._file_of.update(dict.fromkeys(names, file))

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
