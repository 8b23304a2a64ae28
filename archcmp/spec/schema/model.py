"""The whole model: blocks, their order, embedding and output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import MAX_DIM, MAX_LAYERS, Dim, Length, Part, Positive, Text, fault
from archcmp.spec.schema.ffn import FFN, MoE
from archcmp.spec.schema.indexer import Lightning
from archcmp.spec.schema.mixers import Mixer, MixerSum, SingleMixer
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.per_layer import PerLayer
from archcmp.spec.schema.residual import HyperConnections, Parallel, Residual


class Block(Part):
    """One layer: a token mixer and a channel mixer, joined to the residual stream by `residual`. A layer of
    one sub-layer has null for the other: Nemotron 3, https://arxiv.org/abs/2512.20848"""

    residual: Residual
    """How norms and the residual stream join the sub-layers."""
    mixer: Mixer | None
    """The sub-layer in which tokens exchange information."""
    ffn: FFN | None
    """The sub-layer that treats each token on its own."""
    per_layer: PerLayer | None = None
    layer_scalar: bool = False
    """The residual stream after the layer is multiplied by a number that checkpoints hold: Gemma 4."""

    @property
    def mixers(self) -> dict[tuple[str, ...], SingleMixer]:
        """Path below the block -> each of its mixers: none, one, or both of a sum."""
        mixer = self.mixer
        if isinstance(mixer, MixerSum):
            return {("mixer", "first"): mixer.first, ("mixer", "second"): mixer.second}
        return {} if mixer is None else {("mixer",): mixer}

    @property
    def reads_tokens(self) -> bool:
        """Whether the layer sees which tokens it treats, beside the residual stream."""
        return isinstance(self.ffn, MoE) and self.ffn.router.by_token

    @model_validator(mode="after")
    def _has_a_sublayer(self) -> Block:
        if self.mixer is None and self.ffn is None:
            raise fault(("ffn",), "mixer and ffn cannot both be null", "Give the block one of them")
        return self

    @model_validator(mode="after")
    def _branches_need_the_stream(self) -> Block:
        one_norm = (
            isinstance(self.residual, Parallel) and self.residual.shared_norm and self.mixer is not None
        )
        if isinstance(self.ffn, MoE) and self.ffn.branch_norm is not None and one_norm:
            problem = "branch_norm takes the stream, not the norm that the mixer and the feed-forward share"
            raise fault(("ffn", "branch_norm"), problem, "Write shared_norm: false in the residual")
        return self


class Embedding(Part):
    """Token vectors times scale, plus, with `positions: learned`, a vector per position (GPT-2), then the
    norm, if there is one (nanochat)."""

    scale: Literal["sqrt_d_model"] | Positive | None = None
    """Token vectors are multiplied by this number: sqrt(d_model) in Gemma, another in Granite."""
    positions: Literal["learned"] | None = None
    """A learned vector per position is added to the token vector: GPT-2."""
    position_offset: Annotated[int, Field(ge=0, le=MAX_DIM)] = 0
    """Position p has row p + position_offset of the table, which has so many more rows: 2 in OPT, BioGPT."""
    norm: Norm | None = None
    """The embedding is normalised before the first layer: nanochat, BLOOM."""

    @model_validator(mode="after")
    def _offset_needs_positions(self) -> Embedding:
        if self.position_offset and self.positions is None:
            raise fault(
                ("position_offset",), "position_offset needs positions: learned", "Remove position_offset"
            )
        return self


class Output(Part):
    """Logits from the last hidden state: the final norm (`norm: false` for none, as in the original
    Transformer), then the token embedding (`tied`) or a matrix of its own, plus a `bias` (GPT-J, Phi), times
    `scale` (Granite, Command R), then the softcap."""

    tied: bool
    """Logits come from the token embedding, not from a matrix of their own."""
    bias: bool = False
    """A learned number per token of the vocabulary is added to its logit: GPT-J, CodeGen, Phi-2."""
    norm: bool = True
    """The last hidden state is normalised. The original Transformer leaves this norm out."""
    final_norm: Norm | None = None
    """The norm of the last hidden state, the model's norm by default. In Muse Glimmer it has no unit_offset,
    and the norms of the blocks have it."""
    scale: Positive = 1.0
    """Logits are multiplied by this number: Granite, Command R."""
    softcap: Positive | None = None
    """Logits are bounded: softcap * tanh(logit / softcap), Gemma 2."""

    @model_validator(mode="after")
    def _final_norm_is_applied(self) -> Output:
        if self.final_norm is not None and not self.norm:
            raise fault(("final_norm",), "final_norm needs norm: true", "Remove one of the two")
        return self


class Run(Part):
    """`n_layers` layers, which take the blocks that `repeat` names in turn, over and over."""

    repeat: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    """Names of blocks, in the order in which layers take them."""
    n_layers: Annotated[int, Field(gt=0, le=MAX_LAYERS)]
    """The number of layers of the whole run, not of repetitions."""

    @property
    def names(self) -> list[str]:
        """The block of every layer."""
        return [self.repeat[i % len(self.repeat)] for i in range(self.n_layers)]

    @model_validator(mode="before")
    @classmethod
    def _count_has_another_name(cls, options: Any) -> Any:
        if isinstance(options, dict) and "count" in options:
            hint = "Write {repeat: [...], n_layers: 8}; n_layers is the number of layers of the whole run"
            raise fault(("count",), "count is now n_layers", hint)
        return options


class Loop(Part):
    """All layers are gone through again, with the same weights: a looped transformer. Every pass has keys and
    values of its own in the cache. Ouro, Nanbeige 4.2. https://arxiv.org/abs/2510.25741"""

    passes: Annotated[int, Field(gt=0, le=MAX_LAYERS)]
    """How often a token goes through the layers."""
    norm: bool = False
    """The final norm is applied between passes, too: Ouro."""


class Published(Part):
    """The total that the built model must have. It comes from the publisher's checkpoint, or, where that
    total is unknown, from the model that transformers builds of the publisher's configuration."""

    params: Annotated[int, Field(gt=0)]
    """Parameters in all, tied weights once."""
    active: Annotated[int, Field(gt=0)] | None = None
    """Parameters that one token visits in a mixture of experts: all but those of the experts that its router
    leaves out. Publishers round this figure, so what archcmp counts stands here."""
    of: Literal["checkpoint", "configuration"] = "checkpoint"
    """Where the total is from: the checkpoint, or what transformers builds of the configuration."""


class ModelSpec(Part):
    """One architecture at one size, everything resolved. Equal specs compute the same function."""

    ABOUT: ClassVar[frozenset[str]] = frozenset(
        {"name", "size", "organization", "released", "sources", "source", "note", "published"}
    )

    name: Text
    """The family's name as tables show it; a size is added to it."""
    size: str | None = None
    """The name of the size, which is set by the key under `sizes`."""
    organization: Text | None = None
    """Who published the model."""
    released: Text | None = None
    """When the weights were published: 2024-11."""
    sources: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Papers and code from which the design was taken."""
    source: Text | None = None
    """Where the weights of this size are."""
    note: Text | None = None
    """What a reader should know of this size, in one line. `Not certain: rope.theta.` names what no file of
    its publisher confirms; lists mark the model."""
    published: Published | None = None
    """What the publisher's checkpoint holds, which a build must meet."""

    vocab_size: Dim
    """Rows of the token embedding, those that only pad it included."""
    context_length: Length
    """The longest sequence, in tokens, for which the model was made."""
    d_model: Dim
    """Width of the residual stream."""
    norm: Norm
    """The norm of the sub-layers and of the last hidden state."""
    embedding: Embedding = Embedding()
    """How tokens become vectors."""
    output: Output
    """How the last hidden state becomes logits."""
    blocks: dict[Text, Block]
    """Kinds of layers, by names of your own."""
    layers: Annotated[tuple[Run, ...], Field(min_length=1, strict=False)]
    """The order of the layers: runs of blocks, one after the other."""
    loop: Loop | None = None

    @property
    def title(self) -> str:
        """The name people use: `OLMo 2 7B`, `Gemma 4 E2B`, `GPT-2 small`."""
        if self.size is None:
            return self.name
        is_number = re.match(r"[aem]?\d", self.size)  # effective or active parameters, MiniMax's versions
        return f"{self.name} {self.size.upper() if is_number else self.size}"

    @property
    def passes(self) -> int:
        """How often a token goes through the layers."""
        return 1 if self.loop is None else self.loop.passes

    @property
    def streams(self) -> HyperConnections | None:
        """The residual of every block, if it has several streams."""
        residuals = (block.residual for block in self.blocks.values())
        return next((each for each in residuals if isinstance(each, HyperConnections)), None)

    @property
    def n_streams(self) -> int:
        """Streams of d_model in the residual stream."""
        return 1 if self.streams is None else self.streams.n_streams

    @model_validator(mode="after")
    def _streams_are_the_same(self) -> ModelSpec:
        if self.streams is None:
            return self
        for name, block in self.blocks.items():
            if block.residual != self.streams:
                raise fault(
                    ("blocks", name, "residual"),
                    "where one block has hyper_connections, all blocks need them, with the same options",
                    "Give every block the same residual",
                )
            if block.per_layer is not None:
                raise fault(
                    ("blocks", name, "per_layer"),
                    "per_layer needs one residual stream, and hyper_connections have several",
                    "Remove per_layer, or give every block another residual",
                )
        return self

    @model_validator(mode="after")
    def _layers_name_blocks(self) -> ModelSpec:
        if (n_layers := sum(run.n_layers for run in self.layers)) > MAX_LAYERS:
            raise fault(("layers",), f"the layers add up to {n_layers:,}; at most {MAX_LAYERS:,} are allowed")
        if (visited := n_layers * self.passes) > MAX_LAYERS:
            most = f"{visited:,} layers are gone through; at most {MAX_LAYERS:,} are allowed"
            raise fault(("loop", "passes"), most)
        for i, run in enumerate(self.layers):
            for j, name in enumerate(run.repeat):
                if name not in self.blocks:
                    known = f"Blocks: {', '.join(self.blocks)}"
                    raise fault(("layers", i, "repeat", j), f"no block '{name}'", known)
        return self

    @model_validator(mode="after")
    def _shared_choices_are_made_before(self) -> ModelSpec:
        chosen, pools = 0, False
        for name, path, mixer in self._mixers_of([name for run in self.layers for name in run.names]):
            indexer = mixer.indexer if isinstance(mixer, MLA) else None
            if isinstance(indexer, Lightning):
                chosen, pools = 0 if indexer.pool else indexer.top_k, bool(indexer.pool)
            elif indexer is not None and indexer.top_k != chosen:
                place = ("blocks", name, *path, "indexer", "top_k" if chosen else "kind")
                before = f"the layer before chose {chosen:,}" if chosen else "no layer before chose any"
                if pools:
                    before = "the layer before chose pools of tokens, which cannot be shared"
                raise fault(place, f"a shared indexer reuses {indexer.top_k:,} tokens, but {before}")
        return self

    def _mixers_of(self, names: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...], SingleMixer]]:
        """Every mixer of the blocks, with the name of its block and its path there."""
        return ((name, path, mixer) for name in names for path, mixer in self.blocks[name].mixers.items())

    @property
    def per_layer_dims(self) -> list[int]:
        """Elements of the per-layer embedding of each layer that has one."""
        used = [self.blocks[name].per_layer for run in self.layers for name in run.names]
        return [per_layer.dim for per_layer in used if per_layer is not None]

    @model_validator(mode="after")
    def _per_layer_embeddings_are_one_table(self) -> ModelSpec:
        for name, block in self.blocks.items():
            dims = {*self.per_layer_dims, *([block.per_layer.dim] if block.per_layer else [])}
            if len(dims) > 1:
                known = " and ".join(f"{dim:,}" for dim in sorted(dims))
                problem = f"per-layer embeddings have {known} elements, and must have as many in all layers"
                raise fault(("blocks", name, "per_layer", "dim"), problem)
        return self

    @model_validator(mode="after")
    def _shared_keys_are_made(self) -> ModelSpec:
        made = set()
        used = dict.fromkeys(name for run in self.layers for name in run.names)
        for name, path, mixer in self._mixers_of(used):
            if isinstance(mixer, Attention) and not mixer.shared_kv:
                made.add(mixer.kv_options)
            elif isinstance(mixer, Attention) and mixer.kv_options not in made:
                raise fault(
                    ("blocks", name, *path, "shared_kv"),
                    "no layer before makes keys and values by the same options",
                    "Set shared_kv to false, or put a block before that differs in shared_kv alone",
                )
        return self
