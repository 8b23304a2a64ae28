"""What a sheet of published figures says of a model: bounds on its speed, and whether it fits. Nothing here
is measured, and no figure is a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

from archcmp.results.timings import Roofline


@dataclass(frozen=True)
class Bound(Roofline):
    """The shortest time of one workload on a device of which FLOP/s and bytes/s are published, and the
    tokens/s of that time, which no run exceeds. Where FLOP/s are None, memory alone bounds it. `label` is how
    tables call it. `devices` is how many hold what the workload keeps; with more than one the time is still
    that of one. `rate_of` names the numbers whose FLOP/s those are. Where weights multiply as they are
    stored, `dtype_flops` are the FLOPs of everything else, at the FLOP/s of the dtype."""

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
    of prefill. On one device: `longest_context` is the most tokens at this batch, up to the model's own
    context, and `largest_batch` the most sequences of this length; 0 where none fits. `training` says by
    recipe, and then by what is computed again, how many devices train the model together, each with a batch
    of this size; 0 where the activations of such a batch do not fit in one.
    """

    memory_bytes: int
    devices: int
    longest_context: int
    largest_batch: int
    training: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        return self.devices == 1
