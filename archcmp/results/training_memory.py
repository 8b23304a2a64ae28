"""What training keeps in memory: what is asked, and what was counted. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from archcmp.errors import UsageError
from archcmp.results.counts import Section
from archcmp.results.request import check_name


@dataclass(frozen=True)
class StateBytes:
    """Bytes that AdamW training keeps of every parameter: its weight, its gradient, its two moments together,
    and a master copy of the weight in float32. `summed` are the bytes of a gradient that is summed over
    several micro-batches. `loss` is the dtype of the logits from which the loss is computed; None is the
    weights' own."""

    weights: int
    gradients: int
    moments: int
    master: int = 0
    summed: int = 0
    loss: str | None = None

    @property
    def per_parameter(self) -> int:
        return self.weights + self.gradients + self.moments + self.master


RECIPES = {
    "bf16": StateBytes(2, 2, 4, summed=2),
    "mixed": StateBytes(2, 2, 8, master=4, summed=4, loss="float32"),
    "fp32": StateBytes(4, 4, 8, summed=4),
}
RECOMPUTE = ("none", "selective", "full")


@dataclass(frozen=True)
class Setup:
    """How a model trains. `recipe` names one of RECIPES. `recompute` says which activations the backward
    pass computes again: none; "selective", all but the results of matmuls, attention and recurrences; or
    "full", all of a block but its input. A batch is taken as `accumulate` micro-batches, one after the
    other."""

    recipe: str = "bf16"
    recompute: str = "none"
    accumulate: int = 1

    @classmethod
    def of(cls, options: Mapping[str, Any], dtype: str) -> Setup:
        """The setup that the options of a request name; the recipe is that of `dtype` where they name none.
        Raises UsageError."""
        usual = {"recipe": "fp32" if dtype == "float32" else "bf16"}
        given = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        setup = cls(**(usual | given))
        check_name("recipe", setup.recipe, list(RECIPES))
        check_name("way to recompute", setup.recompute, RECOMPUTE)
        return setup

    @property
    def state(self) -> StateBytes:
        """With the gradients that several micro-batches need, where there are several."""
        state = RECIPES[self.recipe]
        return state if self.accumulate == 1 else replace(state, gradients=state.summed)

    def weights_dtype(self, dtype: str) -> str:
        """The dtype of the weights; `dtype` is that of 16-bit weights, or float32 for the usual one."""
        return "float32" if self.recipe == "fp32" else "bfloat16" if dtype == "float32" else dtype

    def micro_batch(self, batch_size: int) -> int:
        """Sequences of a micro-batch. Raises UsageError where they are not whole."""
        if not isinstance(self.accumulate, int) or self.accumulate < 1 or batch_size % self.accumulate:
            found = [f"{n:,}" for n in range(1, min(batch_size, 4096) + 1) if batch_size % n == 0]
            allowed = " or ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
            raise UsageError(
                f"accumulate must be a whole number from 1 that divides the batch size {batch_size:,}, "
                f"not {self.accumulate!r:.40}: write {allowed}"
            )
        return batch_size // self.accumulate


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training takes on one device.

    `terms`: `weights_bytes`, `gradients_bytes`, `moments_bytes`, `master_weights_bytes`; `activations_bytes`,
    what the forward pass of a micro-batch keeps for the backward pass; `logits_and_loss_bytes`, the most that
    logits, the loss and their gradients take at once. `instants` says for the fullest moment of the forward
    pass, the backward pass and the optimizer's step how many bytes of each term are alive; `working_bytes`
    are what operators make and free again, `gathered_bytes` weights of other devices. The peak is the fullest
    of them.
    """

    setup: Setup
    terms: Section
    instants: dict[str, dict[str, int]]

    @property
    def peak_bytes(self) -> int:
        return max(sum(alive.values()) for alive in self.instants.values())
