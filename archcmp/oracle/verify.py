"""Does archcmp compute what `transformers` computes? The same weights in both, logits side by side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from archcmp.errors import MeasureError
from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.hf import check_hf_weights, load_hf_weights
from archcmp.model.hf.checkpoint import SafetensorsFolder
from archcmp.oracle.models import find_config, import_transformers, reference_config, transformers_model
from archcmp.spec.hf import import_config
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec

TOLERANCE = 1e-4
"""How far logits may lie apart in float32, as the design has it."""

BATCH_SIZE, N_TOKENS = 2, 45


@dataclass(frozen=True)
class Verification:
    """The largest differences of logits, of a whole pass and of decoding through the cache; `logits_std` is
    the spread to judge them by. `params` is archcmp's count of what was compared, `transformers_params`
    theirs, buffers that checkpoints hold included."""

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
    """Every tensor random, norms, biases and routers' corrections too, so that none can be forgotten or
    swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in stored(model).items():
            noise = torch.randn(tensor.shape, generator=generator)
            matrix = tensor.dim() > 1 and "norm" not in name
            tensor.copy_(noise * 0.08 if matrix else tensor + 0.2 * noise)
    return model.eval()


def stored(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that a checkpoint holds; tied ones once."""
    kept = model.state_dict()
    buffers = ((name, buffer) for name, buffer in model.named_buffers() if name in kept)
    return dict(chain(model.named_parameters(), buffers))


def _size(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in stored(model).values())


@torch.inference_mode()
def _cached_logits(model: Decoder, tokens: Tensor) -> Tensor:
    """A prefill of some tokens, a few at once, then one after the other."""
    cache = model.new_cache(len(tokens), tokens.shape[1])
    first, then = tokens.split([tokens.shape[1] // 2, -(-tokens.shape[1] // 2)], dim=1)
    pieces = [first, then[:, :3], *then[:, 3:].split(1, dim=1)]
    return torch.cat([model(piece, cache) for piece in pieces], dim=1)


def _difference(a: Tensor, b: Tensor) -> float:
    if not a.isfinite().all():
        raise MeasureError("the logits of archcmp are not finite where those of transformers are")
    return (a.float() - b.float()).abs().max().item()


@dataclass(frozen=True)
class _Reference:
    """What `transformers` makes of `tokens`; the model itself may be gone by then."""

    model_type: str
    params: int
    tokens: Tensor
    logits: Tensor


@torch.inference_mode()
def _reference(spec: ModelSpec, theirs: nn.Module) -> _Reference:
    shape = (BATCH_SIZE, min(N_TOKENS, spec.context_length))
    tokens = torch.randint(spec.vocab_size, shape, generator=torch.Generator().manual_seed(1))
    logits: Tensor = theirs(tokens, use_cache=False).logits
    model_type = str(getattr(theirs.config, "model_type", ""))
    if not logits.isfinite().all():
        raise MeasureError(f"the logits of {model_type} in transformers are not finite")
    return _Reference(model_type, _size(theirs), tokens, logits)


@torch.inference_mode()
def _compare(name: str, ours: Decoder, reference: _Reference, tolerance: float) -> Verification:
    return Verification(
        id=name,
        model_type=reference.model_type,
        whole=_difference(ours(reference.tokens), reference.logits),
        cached=_difference(_cached_logits(ours, reference.tokens), reference.logits),
        logits_std=reference.logits.std().item(),
        params=_size(ours),
        transformers_params=reference.params,
        tolerance=tolerance,
    )


def verify_spec(name: str, spec: ModelSpec, tolerance: float = TOLERANCE) -> Verification:
    """`spec` at a shrunk size with one of every distinct block, random weights, sequences longer than the
    windows. Raises UsageError where `transformers` has no such model."""
    find_config(spec)
    small = shrunk(spec)
    theirs = randomise(transformers_model(small, "cpu", torch.float32, "eager"))
    ours = build_model(small).eval()
    load_hf_weights(ours, theirs.state_dict())
    return _compare(name, ours, _reference(small, theirs), tolerance)


def verify_checkpoint(folder: Path, tolerance: float = TOLERANCE) -> Verification:
    """A local checkpoint, config.json and safetensors, in float32: first in `transformers`, then, when that
    is gone from memory, in archcmp. Raises ConfigError and WeightsError for what is not understood, pickles
    among it, and MeasureError for what transformers does not load."""
    imported = import_config(folder)
    if parts := [name for name in imported.left_out if name.endswith("_config")]:
        raise MeasureError(
            f"{folder}: multimodal ({', '.join(parts)}); import its language model and verify that spec"
        )
    weights = SafetensorsFolder(folder)
    check_hf_weights(build_model(imported.spec, "meta"), weights)
    reference = _reference(imported.spec, _pretrained(folder, imported.spec))
    ours = build_model(imported.spec).eval()
    load_hf_weights(ours, weights)
    return _compare(str(folder), ours, reference, tolerance)


def _pretrained(folder: Path, spec: ModelSpec) -> nn.Module:
    """What transformers loads from the folder, by its own reading of the configuration; by ours only where
    it does not know the model type."""
    transformers = import_transformers()
    options = {"attn_implementation": "eager", "local_files_only": True, "trust_remote_code": False}
    try:
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except (KeyError, ValueError):
            config = reference_config(spec)
        model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, **options
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise MeasureError(f"{folder}: transformers does not load it: {str(error).splitlines()[0]}") from None
    return model.eval()
