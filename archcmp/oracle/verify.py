"""Compare the logits of archcmp with those of `transformers`, both with the same weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

import torch
from torch import Tensor, nn

from archcmp.errors import ArchcmpError, MeasureError
from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.hf import check_hf_weights, load_hf_weights
from archcmp.model.hf.checkpoint import SafetensorsFolder
from archcmp.model.hf.layouts import BUFFERS
from archcmp.oracle.models import (
    find_config,
    import_transformers,
    reference_attention,
    reference_config,
    transformers_model,
)
from archcmp.spec.hf import import_config
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.memory import available_bytes, shortage

TOLERANCE = 1e-4
"""The largest difference of logits in float32 that verification allows."""

BATCH_SIZE, N_TOKENS = 2, 45

_FROM_CONFIGURATION = re.compile(rf"(\w+\.)*({'|'.join(BUFFERS.values())})")


@dataclass(frozen=True)
class Verification:
    """The largest differences of logits in a whole pass and in decoding through the cache. `logits_std` is
    the spread of the logits; a spread below 1 multiplies the tolerance. `params` and `transformers_params`
    are the parameters of the two models that were compared, with the buffers that checkpoints hold."""

    id: str
    model_type: str
    whole: float
    cached: float
    logits_std: float
    params: int
    transformers_params: int
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether both differences are within the tolerance and the counts are equal."""
        close = self.whole <= self.tolerance and self.cached <= self.tolerance
        return close and self.params == self.transformers_params


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Make every tensor random, with norms, biases and routers' correction biases, so that a forgotten or
    swapped tensor changes the logits. The norms of queries and keys are half as large as others: sharp
    attention makes rounding errors grow from layer to layer, above all where scores are not divided by
    sqrt(head_dim)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in stored(model).items():
            if not tensor.is_floating_point():  # places in a list that is at least as long as a row
                tensor.copy_(torch.randint(tensor.shape[-1], tensor.shape, generator=generator))
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            matrix = tensor.dim() > 1 and "norm" not in name
            start = tensor / 2 if name.endswith(("q_norm.weight", "k_norm.weight")) else tensor
            tensor.copy_(noise * 0.08 if matrix else start + 0.2 * noise)
    return model.eval()


def stored(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers that a checkpoint holds, tied parameters once, without the buffers that
    follow from the configuration."""
    kept = {name for name in model.state_dict() if not _FROM_CONFIGURATION.fullmatch(name)}
    buffers = ((name, buffer) for name, buffer in model.named_buffers() if name in kept)
    return dict(chain(model.named_parameters(), buffers))


def _size(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in stored(model).values())


@torch.inference_mode()
def _cached_logits(model: Decoder, tokens: Tensor, pieces: list[int]) -> Tensor:
    """Logits of the tokens through a cache. `pieces` says how many tokens are passed at once."""
    cache = model.new_cache(len(tokens), tokens.shape[1])
    parts = tokens.tensor_split(list(accumulate(pieces)), dim=1)
    return torch.cat([model(part, cache) for part in parts if part.shape[1]], dim=1)


def _orders(n_tokens: int) -> tuple[list[int], list[int]]:
    """Two ways to decode: a prefill, three tokens at once, then one token at a time; and uneven pieces."""
    half = n_tokens // 2
    return [half, 3, *[1] * n_tokens], [1, 5, half, 2, 1]


def _difference(a: Tensor, b: Tensor) -> float:
    if not a.isfinite().all():
        raise MeasureError("the logits of archcmp are not finite where those of transformers are")
    return (a.float() - b.float()).abs().max().item()


@dataclass(frozen=True)
class _Reference:
    """The logits of `transformers` for `tokens`, kept after its model is freed."""

    model_type: str
    params: int
    tokens: Tensor
    logits: Tensor


@torch.inference_mode()
def _reference(spec: ModelSpec, theirs: nn.Module, n_tokens: int) -> _Reference:
    shape = (BATCH_SIZE, min(n_tokens, spec.context_length))
    tokens = torch.randint(spec.vocab_size, shape, generator=torch.Generator().manual_seed(1))
    logits: Tensor = theirs(tokens, use_cache=False).logits
    model_type = str(getattr(theirs.config, "model_type", ""))
    if not logits.isfinite().all():
        raise MeasureError(f"the logits of {model_type} in transformers are not finite")
    if logits.std() == 0:
        raise MeasureError(f"the logits of {model_type} in transformers are all equal: they verify nothing")
    return _Reference(model_type, _size(theirs), tokens, logits)


@torch.inference_mode()
def _compare(name: str, ours: Decoder, reference: _Reference, tolerance: float) -> Verification:
    tokens, logits = reference.tokens, reference.logits
    spread = logits.std().item()
    return Verification(
        id=name,
        model_type=reference.model_type,
        whole=_difference(ours(tokens), logits),
        cached=max(
            _difference(_cached_logits(ours, tokens, pieces), logits) for pieces in _orders(tokens.shape[1])
        ),
        logits_std=spread,
        params=_size(ours),
        transformers_params=reference.params,
        tolerance=tolerance * min(1.0, spread),
    )


def verify_model(
    name: str,
    spec: ModelSpec,
    theirs: nn.Module,
    tolerance: float = TOLERANCE,
    n_tokens: int = N_TOKENS,
    seed: int = 0,
) -> Verification:
    """Compare the model of `spec` with `theirs`, a model of transformers. Both get equal random weights."""
    randomise(theirs, seed)
    ours = build_model(spec).eval()
    load_hf_weights(ours, theirs.state_dict())
    return _compare(name, ours, _reference(spec, theirs, n_tokens), tolerance)


def verify_spec(name: str, spec: ModelSpec, tolerance: float = TOLERANCE) -> Verification:
    """Compare `spec` at a shrunk size with one of every distinct block, with random weights and sequences
    longer than the windows. Raises UsageError where `transformers` has no such model."""
    find_config(spec)
    small = shrunk(spec)
    return verify_model(name, small, transformers_model(small, "cpu", torch.float32, None), tolerance)


# ---- checkpoints ------------------------------------------------------------------------------------


def verify_checkpoint(
    folder: Path, tolerance: float = TOLERANCE, available: int | None = None
) -> Verification:
    """Compare a local checkpoint, config.json and safetensors, in float32: first in `transformers`, then,
    when that model is freed, in archcmp. Raises ConfigError and WeightsError for files that archcmp does not
    read, pickles among them, and MeasureError where transformers fails or more than the `available` bytes are
    needed (by default the free memory of the machine)."""
    imported = import_config(folder)
    if parts := [name for name in imported.left_out if name.endswith("_config")]:
        raise MeasureError(
            f"{folder}: multimodal ({', '.join(parts)}); import its language model and verify that spec"
        )
    weights = SafetensorsFolder(folder)
    planned = build_model(imported.spec, "meta")
    check_hf_weights(planned, weights)
    free = available_bytes(torch.device("cpu")) if available is None else available
    if short := shortage(_needed_bytes(planned), free):
        raise MeasureError(f"{folder}: {short}")
    with _failures_of_transformers(folder):
        reference = _reference(imported.spec, _pretrained(folder, imported.spec), N_TOKENS)
    ours = build_model(imported.spec).eval()
    load_hf_weights(ours, weights)
    return _compare(str(folder), ours, reference, tolerance)


def _needed_bytes(model: nn.Module) -> int:
    """Bytes of one of the two models in float32, and of the largest tensor, which is read into it."""
    sizes = [tensor.numel() for tensor in stored(model).values()]
    return torch.float32.itemsize * (sum(sizes) + max(sizes))


@contextmanager
def _failures_of_transformers(folder: Path) -> Iterator[None]:
    """Turn an exception of transformers, which may have any class and no message, into one line."""
    try:
        yield
    except ArchcmpError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
        raise MeasureError(f"{folder}: transformers fails on this checkpoint: {reason}") from None


def _pretrained(folder: Path, spec: ModelSpec) -> nn.Module:
    """The model that transformers loads from the folder. transformers reads the configuration itself, unless
    it does not know the model type."""
    transformers = import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (KeyError, ValueError):
        config = reference_config(spec)
    options = {"attn_implementation": reference_attention(config.model_type), "trust_remote_code": False}
    options |= {"local_files_only": True, "use_safetensors": True}
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, **options
    )
    return model.eval()
