"""A checkpoint of a tiny model, and what can be wrong with such a folder."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import randomise
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.fuzz.recipe import ODD, mutated

FILE, CONFIG, INDEX, PROOF = "model.safetensors", "config.json", "model.safetensors.index.json", "code-ran"


def save_good(folder: Path) -> None:
    """A shrunk Llama 3 as transformers saves it, in one file."""
    model = randomise(transformers_model(shrunk(load_spec("llama3:8b")), "cpu", torch.float32))
    model.save_pretrained(folder)  # type: ignore[operator]


class Evil:
    """Writes a file where it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.proof)!r}, 'w').close()",)


def _pickle(folder: Path, name: str) -> str:
    (folder / name).write_bytes(pickle.dumps(Evil(folder / PROOF)))
    return name


def _gone(path: Path) -> Path:
    """The path, free for something else."""
    path.unlink()
    return path


def _index(folder: Path, file: object) -> None:
    names = list(load_file(folder / FILE))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, file)}))


def _tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / FILE)
    change(tensors)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})


def _header(folder: Path, data: bytes, length: int | None = None) -> None:
    (folder / FILE).write_bytes(struct.pack("<Q", len(data) if length is None else length) + data)


def _pickled_only(folder: Path, name: str) -> None:
    (folder / FILE).unlink()
    _pickle(folder, name)


def _remote_code(folder: Path) -> None:
    _configured(folder, auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    (folder / "evil.py").write_text(f"open({str(folder / PROOF)!r}, 'w').close()")


def _configured(folder: Path, **fields: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


NAME = "model.layers.0.self_attn.q_proj.weight"

FAULTS: dict[str, Callable[[Path], object]] = {
    "a pickle named .bin": lambda f: _pickled_only(f, "pytorch_model.bin"),
    "a pickle named .pt": lambda f: _pickled_only(f, "model.pt"),
    "a pickle named .safetensors": lambda f: _pickle(f, FILE),
    "a pickle in the index": lambda f: _index(f, _pickle(f, "evil.bin")),
    "a pickle in the index by a safe name": lambda f: _index(f, _pickle(f, "e.safetensors")),
    "code beside it": _remote_code,
    "an index out of the folder": lambda f: _index(f, "../good/model.safetensors"),
    "an index to /etc/passwd": lambda f: _index(f, "/etc/passwd"),
    "an index of numbers": lambda f: _index(f, 7),
    "an index that is none": lambda f: (f / INDEX).write_text("[" * 100_000),
    "an index with a terminal's codes": lambda f: _index(f, "\x1b[31m.safetensors"),
    "no bytes": lambda f: (f / FILE).write_bytes(b""),
    "half the bytes": lambda f: (f / FILE).write_bytes(
        (f / FILE).read_bytes()[: (f / FILE).stat().st_size // 2]
    ),
    "a header without end": lambda f: (f / FILE).write_bytes(b"\xff" * 8),
    "a header of 4 EB": lambda f: _header(f, b"{}", 2**62),
    "a header that is no JSON": lambda f: _header(f, b"{" * 64),
    "a header of odd text": lambda f: _header(
        f, b'{"\x1b[31m\\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    ),
    "offsets beyond the file": lambda f: _header(
        f, b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
    ),
    "a shape beyond all memory": lambda f: _header(
        f, b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}'
    ),
    "an unknown dtype": lambda f: _header(f, b'{"a":{"dtype":"F99","shape":[],"data_offsets":[0,0]}}'),
    "a tensor too few": lambda f: _tensors(f, lambda t: t.pop(NAME)),  # type: ignore[arg-type]
    "a tensor too many": lambda f: _tensors(f, lambda t: t.update({"x" * 5_000: torch.ones(1)})),
    "a tensor of odd name": lambda f: _tensors(f, lambda t: t.update({"a\n\x1b[31m": torch.ones(1)})),
    "a tensor of another shape": lambda f: _tensors(f, lambda t: t.update({NAME: torch.ones(3, 3)})),
    "a tensor of no elements": lambda f: _tensors(f, lambda t: t.update({NAME: torch.ones(0)})),
    "whole numbers": lambda f: _tensors(f, lambda t: t.update({NAME: t[NAME].to(torch.int8)})),
    "no numbers": lambda f: _tensors(f, lambda t: t.update({NAME: t[NAME] * float("nan")})),
    "huge numbers": lambda f: _tensors(f, lambda t: t.update({name: x * 1e38 for name, x in t.items()})),
    "zeros": lambda f: _tensors(f, lambda t: t.update({name: x * 0 for name, x in t.items()})),
    "a folder for a file": lambda f: _gone(f / FILE).mkdir(),
    "a link to itself": lambda f: _gone(f / FILE).symlink_to(f / FILE),
    "a link to a device": lambda f: _gone(f / FILE).symlink_to("/dev/zero"),
    "no configuration": lambda f: _gone(f / CONFIG),
    "a configuration of 4 MB": lambda f: (f / CONFIG).write_text(" " * 2**22 + "{}"),
    "a configuration that is a device": lambda f: _gone(f / CONFIG).symlink_to("/dev/zero"),
    "a configuration that is a list": lambda f: (f / CONFIG).write_text("[]"),
}


def hostile(rng: Random) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Every known fault, then fields of the configuration with odd values, without end."""
    yield from FAULTS.items()
    fields = [
        *(
            "quantization_config",
            "attention_dropout",
            "initializer_range",
            "bos_token_id",
            "pad_token_id",
            "use_cache",
        ),
        *(
            "return_dict",
            "dtype",
            "torch_dtype",
            "tie_word_embeddings",
            "attn_implementation",
            "generation_config",
        ),
        *(
            "id2label",
            "auto_map",
            "architectures",
            "base_model_tp_plan",
            "transformers_version",
            "pruned_heads",
        ),
    ]
    odd = [value for value in ODD if len(str(value)) < 10_000]
    odd += [{"quant_method": method} for method in ("fp8", "gptq", "bitsandbytes", "nosuch")]
    while True:
        if rng.random() < 0.6:
            field, value = rng.choice(fields), rng.choice(odd)
            yield f"{field}: {value!r:.30}", lambda f, k=field, v=value: _configured(f, **{k: v})  # type: ignore[misc]
        else:
            seed = rng.random()
            yield f"mutation {seed}", lambda f, s=seed: _mutate(f, s)  # type: ignore[misc]


def _mutate(folder: Path, seed: float) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(mutated(json.loads(path.read_text()), Random(seed))))
