"""What sliding windows save in attention: ours, the same window as a mask over all keys, and no window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.errors import UsageError
from archcmp.experiments.contests.core import Contest, Distance, Entry
from archcmp.model.ops.attention import attention
from archcmp.results.request import Request
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.model import ModelSpec


class Masked(Contest):
    """The attention of every distinct block whose window is shorter than the sequence, without projections:
    as archcmp computes it, as one masked SDPA call, and of the same layer made global."""

    contenders = ("windowed", "masked", "global")
    axis = "block"

    @classmethod
    def plan(cls, spec: ModelSpec, request: Request, seq_len: int) -> dict[str, float]:
        cells = dict.fromkeys(_windowed(spec, seq_len), 1.0)
        if not cells:
            raise UsageError(f"{spec.title} has no window shorter than {seq_len:,} tokens")
        return cells

    def needed_bytes(self) -> int:
        """Per (query, key) pair a boolean, and what SDPA makes of it in the dtype; per token q, k, v, the
        keys and values repeated for every head, two outputs, and a float32 copy of what is drawn."""
        pairs = self.seq_len**2 * (1 + self.dtype.itemsize)
        mixers = _windowed(self.spec, self.seq_len).values()
        widest = max(mixer.n_heads * max(mixer.head_dim, mixer.value_dim) for mixer in mixers)
        return pairs + self.batch_size * self.seq_len * widest * (8 * self.dtype.itemsize + 4)

    def _mixer(self, cell: str) -> tuple[Attention, int]:
        """The attention of a block, and its window."""
        mixer = _windowed(self.spec, self.seq_len)[cell]
        assert mixer.window is not None
        return mixer, mixer.window

    def distance(self, cell: str) -> Distance:
        _, window = self._mixer(cell)
        label = f"attention of {cell}, window {window:,} of {self.seq_len:,} tokens"
        return Distance(label, self.seq_len, self.batch_size * self.seq_len)

    def build(self, cell: str) -> list[Entry]:
        mixer, window = self._mixer(cell)
        q, k, v = self._projections(mixer)
        scale = float(mixer.query_pre_attn_scalar or mixer.head_dim) ** -0.5
        visible = torch.ones(self.seq_len, self.seq_len, dtype=torch.bool, device=self.device)
        visible.tril_().triu_(1 - window)
        works = [
            partial(attention, q, k, v, scale, window),
            partial(_masked, q, k, v, scale, visible),
            partial(attention, q, k, v, scale),
        ]
        return [Entry([torch.inference_mode()(work)]) for work in works]

    def agreed(self, cell: str, entries: Sequence[Entry]) -> dict[str, float]:
        """Of the two that have the window."""
        _, window = self._mixer(cell)
        return self.compared(cell, [partial(_last, entry.works[0], window) for entry in entries[:2]])

    def _projections(self, mixer: Attention) -> list[Tensor]:
        """Random q, k, v (B, heads, T, D), laid out as projections leave them."""
        shape, n_kv_heads = (self.batch_size, self.seq_len), mixer.n_kv_heads
        heads = [(mixer.n_heads, mixer.head_dim), (n_kv_heads, mixer.head_dim), (n_kv_heads, mixer.value_dim)]
        return [
            torch.randn(*shape, *each, device=self.device).to(self.dtype).transpose(1, 2) for each in heads
        ]


def _windowed(spec: ModelSpec, seq_len: int) -> dict[str, Attention]:
    """The attention of every block whose window is shorter than the sequence."""
    mixers = {
        ".".join((name, *path[1:])): mixer
        for name in distinct_blocks(spec)
        for path, mixer in spec.blocks[name].mixers.items()
    }
    return {
        name: mixer
        for name, mixer in mixers.items()
        if isinstance(mixer, Attention) and mixer.window and mixer.window < seq_len
    }


def _last(work: Callable[[], Tensor], n_tokens: int) -> Tensor:
    """Outputs of the last tokens, each of which is a mean over a whole window, so that their spread is one to
    judge rounding by; the first tokens' outputs are several times as large."""
    return work()[:, :, -n_tokens:]


def _masked(q: Tensor, k: Tensor, v: Tensor, scale: float, visible: Tensor) -> Tensor:
    """A window as `transformers` has it: every key multiplied, most of them masked."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)


CONTEST = Masked
