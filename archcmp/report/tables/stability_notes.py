"""What is said below the tables of stability, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Document, Status
from archcmp.units import Count, Share

Unit = Callable[[float], str]

_SHORT_TRAINING = (
    "Each run sees {} tokens; Wortsman et al. (arXiv 2309.14322) trained on 13 billion. Only instability "
    "early in training is in reach, and differences at a good learning rate do not show."
)
_STABILITY = (
    "Critical LR (learning rate): where the loss has climbed half the way back to what it was before "
    "training. At least, at most: some seeds lie beyond the grid. Safety margin: critical LR / best LR.",
    "Intervals: 95 % over seeds; that of the critical LR holds the step of the grid around it, too.",
)
_COINCIDES = (
    "Curve coincides: below half of the smaller critical LR the losses do not differ from the first model's. "
    "If they do, an LR means something else to each model: compare safety margins."
)
_SENSITIVITY = (
    "LR sensitivity: the mean over the grid ({}) of the loss, at most that before training, less the lowest "
    "loss; nats per byte. It is 0 for a model that learns nothing: see the losses."
)
_PROBES = (
    "At the last probe of each run, the median over seeds. Logit: the largest |attention score| of any "
    "layer; growth: over that of the first probe. Entropy: of the attention of the lowest head, as a share "
    "of log(visible keys). RMS: of the residual stream after the last layer. Gradient norm: the largest of "
    "the run, before clipping."
)
_SPIKES = (
    "Spike share: gradient norms whose logarithm lies 7 standard deviations from those before. It is not "
    "the spike score of OLMo 2, which looks back 1,000 steps."
)
_EFFECTS = (
    "Effect: the factor on the critical LR, with its 95 % interval. p: paired t test over seeds, adjusted "
    "for the number of hypotheses by Holm's method."
)
_VERDICTS = (
    "Supported, contradicted: p < 0.05, most seeds differ by a step of the grid, and no rate beyond the "
    "grid could make the effect smaller. Undecided: all else."
)
_NOT_PROVOKED = (
    "Not provoked: the first model never diverged and every critical LR lies above the grid, so the test "
    "has no power. Write higher rates (--lr) or --stress."
)


# ---- numbers as text --------------------------------------------------------------------------------


def loss(value: float) -> str:
    return f"{value:.2f}"


def short(value: float) -> str:
    """Two digits, as far as a learning rate between two of the grid is known: '0.55'."""
    return f"{value:.2g}"


def factor(value: float) -> str:
    """'3.2x', '0.55x', '55x'."""
    value = float(f"{value:.2g}")
    if value < 1 or value >= 1e4:
        return f"{value:g}x"
    return f"{value:.1f}x" if value < 10 else f"{value:,.0f}x"


def decades(value: float) -> str:
    """A factor from its log10."""
    if abs(value) < 6:
        return factor(10**value)
    return "over 1,000,000x" if value > 0 else "under 0.000001x"


def figure(value: float) -> str:
    """'17.7', '1,015', '3.05e+10', and 'not finite'."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if 99.95 <= value < 1e6 or not value else f"{value:#.3g}"


def between(low: float | None, high: float | None, unit: Unit) -> str | None:
    """'0.1 to 3', '0.1 or more', 'up to 3'; None where neither end is known."""
    if low is not None and high is not None:
        return f"{unit(low)} to {unit(high)}"
    if low is not None:
        return f"{unit(low)} or more"
    return None if high is None else f"up to {unit(high)}"


# ---- notes ------------------------------------------------------------------------------------------


def of_losses(doc: Document) -> list[str]:
    """How far the experiment is, how to read losses, how they were made, and where."""
    entropy = doc.request.options["unigram_entropy"]
    reading = (
        "Validation loss in nats per byte, the mean over seeds. A diverged run, which ended early or "
        f"predicts worse than the frequencies of bytes ({loss(entropy)}), counts as its loss before training."
    )
    return [*_unfinished(doc), reading, *_recipe(doc), *where_measured(doc)]


def _unfinished(doc: Document) -> list[str]:
    n_all, n_done = len(doc.request.points()), sum(cell.status is Status.DONE for cell in doc.cells)
    if n_done == n_all:
        return []
    return [
        f"{n_done:,} of {n_all:,} runs are finished. Stability and hypotheses count the seeds of a model "
        "that have a run at every learning rate."
    ]


def _recipe(doc: Document) -> list[str]:
    """How the proxies were trained, and on what."""
    o, n_seeds = doc.request.options, len(doc.request.axes["seed"])
    parts = [
        f"d_model {o['d_model']:,}, {o['n_layers']:,} layers, {o['steps']:,} steps of {o['batch_size']:,} x "
        f"{o['seq_len']:,} tokens, init {o['init']}",
        f"AdamW (betas {o['beta1']:g} and {o['beta2']:g}, eps {o['eps']:g})",
        f"gradients clipped to {o['clip']:g}" if o["clip"] else "no clipping",
        f"warm-up {Share(o['warm_up'])}" if o["warm_up"] else "no warm-up",
        f"cosine to {Share(o['final_share'])}",
        f"independent weight decay {o['weight_decay']:g}",
        f"{doc.timed_dtype}",
        f"{n_seeds:,} seeds",
    ]
    tokens = Count(o["steps"] * o["batch_size"] * o["seq_len"])
    return [
        f"Proxies: {', '.join(parts)}.",
        f"Text: {o['text_name']} (fingerprint {o['text_fingerprint']}).",
        _SHORT_TRAINING.format(tokens),
    ]


def of_stability(doc: Document) -> list[str]:
    shared, floor = doc.summary["shared_best_learning_rate"], doc.summary["noise_floor"]
    notes = [*_STABILITY]
    if shared is not None:
        notes.append(f"{shared:g} is the LR with the lowest mean loss over all models.")
    if floor is not None:
        notes.append(f"Noise floor: two seeds of one model differ by up to {factor(floor)} in critical LR.")
    grid = ", ".join(f"{rate:g}" for rate in doc.request.axes["learning_rate"])
    return [*notes, _SENSITIVITY.format(grid), *([_COINCIDES] if len(doc.models) > 1 else [])]


def of_probes(labels: Sequence[str], unscored: bool) -> list[str]:
    """`unscored`: whether a model has a mixer without attention scores throughout."""
    notes = [_PROBES] if labels else []
    notes += [_SPIKES] if "spike share" in labels else []
    return [*notes, "-: this mixer has no attention scores."] if unscored else notes


def of_hypotheses(doc: Document) -> list[str]:
    tested, rates = doc.summary["hypotheses"], sorted(doc.request.axes["learning_rate"])
    step = max((high / low for low, high in pairwise(rates)), default=1.0)
    notes = [_EFFECTS, f"An effect is known to a step of the grid only: up to {factor(step)}.", _VERDICTS]
    notes += [_NOT_PROVOKED] if any(h["verdict"] == "not provoked" for h in tested) else []
    if any(h["p"] is None for h in tested):
        notes.append("p -: too few seeds, or rates beyond the grid hide how seeds vary.")
    return notes
