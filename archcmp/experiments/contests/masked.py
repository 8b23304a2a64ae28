"""What sliding windows save in attention: ours, the same window as a mask over all keys, and no window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.errors import UsageError
from archcmp.experiments.contests.transformers import RaceSettings
from archcmp.model.ops.attention import attention
from archcmp.results import PairedRatio
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import keep_freed_memory
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.measurement import OnProgress
from archcmp.timing.rounds import interleave
from archcmp.timing.stats import paired_ratio


@dataclass(frozen=True)
class WindowResult:
    """Seconds per round of one block's attention. The ratios are how many times as long a masked SDPA call,
    and the same layer made global, take."""

    block: str
    window: int
    seq_len: int
    ours_s: list[float]
    masked_s: list[float]
    global_s: list[float]
    over_masked: PairedRatio | None
    over_global: PairedRatio | None


def race_windows(
    spec: ModelSpec,
    settings: RaceSettings,
    on_progress: OnProgress | None = None,
    timer: Timer | None = None,
) -> Iterator[WindowResult]:
    """Race the attention of every distinct block whose window is shorter than the sequence. Raises
    UsageError where there is none."""
    mixers = {name: spec.blocks[name].mixer for name in distinct_blocks(spec)}
    windowed = {
        name: mixer
        for name, mixer in mixers.items()
        if isinstance(mixer, Attention) and mixer.window and mixer.window < settings.seq_len
    }
    if not windowed:
        raise UsageError(f"{spec.title} has no window shorter than {settings.seq_len:,} tokens")
    keep_freed_memory()
    clock = timer or DeviceTimer(torch.device(settings.device))
    for i, (name, mixer) in enumerate(windowed.items()):
        (on_progress or (lambda text, share: None))(f"attention: {name}", i / len(windowed))
        yield _race(name, mixer, settings, clock, settings.budget_s / len(windowed))


@torch.inference_mode()
def _race(name: str, mixer: Attention, settings: RaceSettings, timer: Timer, budget_s: float) -> WindowResult:
    assert mixer.window is not None
    q, k, v = _projections(mixer, settings)
    scale = float(mixer.query_pre_attn_scalar or mixer.head_dim) ** -0.5
    ours = partial(attention, q, k, v, scale)
    visible = _window_mask(settings.seq_len, mixer.window, q.device)
    masked = partial(_masked, q, k, v, scale, visible)
    works = [partial(ours, mixer.window), masked, partial(ours, None)]
    rounds = list(interleave(works, timer, budget_s))
    ours_s, masked_s, global_s = map(list, zip(*rounds, strict=True))
    return WindowResult(
        *(name, mixer.window, settings.seq_len, ours_s, masked_s, global_s),
        over_masked=paired_ratio(ours_s, masked_s),
        over_global=paired_ratio(ours_s, global_s),
    )


def _projections(mixer: Attention, settings: RaceSettings) -> list[Tensor]:
    """Random q, k, v (B, heads, T, D), laid out as projections leave them."""
    shape = (settings.batch_size, settings.seq_len)
    return [
        torch.randn(*shape, heads, mixer.head_dim, device=settings.device)
        .to(getattr(torch, settings.dtype))
        .transpose(1, 2)
        for heads in (mixer.n_heads, mixer.n_kv_heads, mixer.n_kv_heads)
    ]


def _window_mask(seq_len: int, window: int, device: torch.device) -> Tensor:
    """(T, T), true where the query may see the key."""
    return torch.ones(seq_len, seq_len, dtype=torch.bool, device=device).tril().triu(1 - window)


def _masked(q: Tensor, k: Tensor, v: Tensor, scale: float, visible: Tensor) -> Tensor:
    """A window as `transformers` has it: every key multiplied, most of them masked."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)
