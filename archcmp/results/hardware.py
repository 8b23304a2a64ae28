"""What a sheet of published figures says of a model: bounds on its speed, and whether it fits. Nothing here
is measured, and no figure is a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

from archcmp.results.timings import Roofline


@dataclass(frozen=True)
class Bound(Roofline):
    """The shortest time of one workload on a device with published FLOP/s and bytes/s. No run is faster, or
    has more tokens/s.

    `flops_per_s` is None where no rate is published; memory alone then bounds the time. `rate_of` names the
    numbers that multiply at this rate: a dtype, or the format of weights. `label` is the workload's name in
    tables. `devices` is the fewest devices whose memories together hold what the workload keeps, None where
    the memory is not published; the time is that of one device in any case.

    Where weights multiply as they are stored, `dtype_flops` are the FLOPs of everything else, which
    multiplies at `dtype_flops_per_s`, the rate of the dtype."""

    label: str
    tokens_per_second: float
    flops_per_s: float | None
    bytes_per_s: float
    devices: int | None
    rate_of: str | None = None
    dtype_flops: int = 0
    dtype_flops_per_s: float | None = None


@dataclass(frozen=True)
class Fit:
    """A model in the memory of a device, without what frameworks and drivers keep.

    `devices` is the fewest whose memories together hold the weights, the cache, and the activations of a step
    of prefill, which has up to `step_tokens` tokens. On one device: `longest_context` is the most tokens at
    this batch, up to the model's own context, and `largest_batch` the most sequences of this length; 0 where
    none fits. `training` says by recipe, and then by what is computed again, how many devices train the model
    together, each with a batch of this size; 0 where one device cannot hold what they do not share: the
    activations of a micro-batch, gathered weights, and the gradients of the layer at work.
    """

    memory_bytes: int
    devices: int
    longest_context: int
    largest_batch: int
    training: dict[str, dict[str, int]] = field(default_factory=dict)
    step_tokens: int = 8192

    @property
    def fits(self) -> bool:
        return self.devices == 1
