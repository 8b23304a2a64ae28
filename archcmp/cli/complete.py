"""What a shell may offer for an argument or an option. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from archcmp.errors import ArchcmpError
from archcmp.experiments.contests import CONTESTS
from archcmp.hardware.load import known_hardware
from archcmp.results.counts import QUANTITIES
from archcmp.results.precision import EXPERTS, KV, WEIGHTS
from archcmp.results.request import COMPOSE, CONVENTIONS, DTYPES
from archcmp.spec import reflect
from archcmp.spec.describe import design_choices, short_key
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.vocabulary import vocabulary
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import all_sizes, load_spec

Completer = Callable[[str], list[str]]
"""Takes the text so far; typer drops the answers that do not begin with it."""


def one_of(names: Iterable[str]) -> Completer:
    """Offers these names."""
    listed = list(names)

    def complete(incomplete: str) -> list[str]:
        return listed

    return complete


def some_of(names: Iterable[str]) -> Completer:
    """Offers these names for the part after the last comma, each once."""
    listed = list(names)

    def complete(incomplete: str) -> list[str]:
        given, comma, _ = incomplete.rpartition(",")
        return [given + comma + name for name in listed if name not in given.split(",")]

    return complete


dtypes = one_of(DTYPES)
weights = one_of([*WEIGHTS, *(name + EXPERTS for name in WEIGHTS)])
kv = one_of(KV)
conventions = one_of(CONVENTIONS)
contests = one_of(CONTESTS)
compose = one_of(COMPOSE)
quantities = one_of(QUANTITIES)
devices = one_of(["cpu", "cuda"])


def workloads(incomplete: str) -> list[str]:
    """Names of workloads, separated by commas."""
    from archcmp.timing.workloads import WORKLOADS

    return some_of(WORKLOADS)(incomplete)


def plots(incomplete: str) -> list[str]:
    """Kinds of plots, each before a colon."""
    from archcmp.report.plots import listed

    return [f"{kind}:" for kind in listed()]


def choices(incomplete: str) -> list[str]:
    """Names that `archcmp choices` explains."""
    return list(dict.fromkeys(choice.name for choice in vocabulary()))


def hardware(incomplete: str) -> list[str]:
    """Devices of which archcmp has a sheet."""
    return list(known_hardware())


def families(incomplete: str) -> list[str]:
    """Families of known specs."""
    return list(known_specs())


# ---- specs and their keys ---------------------------------------------------------------------------


def specs(incomplete: str) -> list[str]:
    """Families; the sizes of the family that is written, or of the only one that fits; keys after a plus."""
    reference, plus, override = incomplete.rpartition("+")
    if plus:
        return [f"{reference}+{answer}" for answer in _overrides([reference], override)]
    found = [family for family in known_specs() if family.startswith(incomplete)]
    family = found[0] if len(found) == 1 else incomplete.partition(":")[0]
    return found + [size for size in _sizes(family) if size != family]


def _sizes(family: str) -> list[str]:
    try:
        return all_sizes(family)
    except (ArchcmpError, OSError):
        return []


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """`KEY=VALUE` for the specs that stand on the command line before it."""
    # An option that has no value yet stops the parser before it has read the specs, so these are raw words.
    words = ctx.parent.args if ctx.parent else []
    return _overrides([word for word in words if not word.startswith("-")], incomplete)


def _overrides(references: Iterable[str], incomplete: str) -> list[str]:
    """The keys that the specs have, or all keys there are; after a key's equals sign its named values."""
    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={answer}" for answer in some_of(_values(key))(value)]
    return [f"{known}=" for known in _keys(references) or _all_options()]


def _keys(references: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for reference in references:
        try:
            found |= dict.fromkeys(design_choices(load_spec(reference)))
        except (ArchcmpError, OSError):
            continue
    return list(found)


def _all_options() -> dict[str, list[reflect.Option]]:
    """Every key of the schema, as tables show it, with the options that go by it."""
    found: dict[str, list[reflect.Option]] = {}
    for option in [*reflect.options(Block), *reflect.options(ModelSpec)]:
        if option.path[0] not in ModelSpec.ABOUT:
            found.setdefault(short_key(option.path), []).append(option)
    return found


def _values(key: str) -> list[str]:
    """What can be written for a key, where it takes names."""
    found: dict[str, None] = {}
    for option in _all_options().get(key, []):
        found |= dict.fromkeys(reflect.names(option.owner, option.name))
        if reflect.takes(bool, option.owner, option.name):
            found |= {"yes": None, "no": None}
        if not option.info.is_required() and option.info.default is None:
            found["none"] = None
    return list(found)
