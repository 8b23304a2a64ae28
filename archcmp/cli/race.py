"""The command that races our model: against another library, its own parts, and masks for windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcmp.cli.app import INTERRUPTED, Batch, Device, DType, Json, Set, Spec, app, print_json
from archcmp.settings import DEFAULT_CONVENTION, DEFAULT_DTYPE, WORKLOADS

if TYPE_CHECKING:
    from archcmp.experiments.contests.transformers import RaceSettings
    from archcmp.report.tables import Table
    from archcmp.spec.yaml.load import NamedSpec

PEER = "transformers"
COMPOSED = "composed"
MASKED = "masked"
OPPONENTS = (PEER, COMPOSED, MASKED)
SCHEMA = "archcmp.race/1"


@app.command()
def race(
    spec: Spec,
    against: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"{PEER}; {COMPOSED}: the sum of parts timed alone, against the whole; "
            f"{MASKED}: windows as masks, against ours.",
        ),
    ] = PEER,
    overrides: Set = None,
    as_json: Json = False,
    batch_size: Batch = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", "-t", help="Tokens in a sequence.")] = 1024,
    measure: Annotated[str, typer.Option(metavar="NAMES", help="Workloads to race.")] = ",".join(WORKLOADS),
    budget: Annotated[float, typer.Option(help="Seconds to spend on readings, in all.")] = 60.0,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile both with torch.compile.")] = False,
    device: Device = None,
    dtype: DType = None,
) -> None:
    """The same weights and tokens in archcmp and in transformers: same logits, and who is faster."""
    from archcmp.cli.progress import waiting
    from archcmp.settings import check_measure, make_settings
    from archcmp.spec.yaml.load import load_models
    from archcmp.timing.process import settle_process

    _check_peer(against)
    (subject,) = load_models([spec], overrides or ())
    workloads = tuple(name.strip() for name in measure.split(","))
    check_measure(workloads, budget, "never")
    make_settings([subject.spec], batch_size, seq_len, dtype or DEFAULT_DTYPE, DEFAULT_CONVENTION)
    settle_process()
    with waiting("loading torch"):
        from archcmp.experiments.contests.transformers import RaceSettings
        from archcmp.timing.device import native_dtype, resolve_device

        target = resolve_device(device)
    settings = RaceSettings(
        str(target), dtype or native_dtype(target), seq_len, batch_size, budget, workloads, compiled
    )
    _race(subject, settings, against, as_json)


def _check_peer(against: str) -> None:
    from archcmp.errors import UsageError, did_you_mean

    if against not in OPPONENTS:
        raise UsageError(f"no '{against}' to race. {did_you_mean(against, OPPONENTS)}")


def _contest(against: str) -> tuple[Callable[..., Iterator[Any]], Callable[..., Table]]:
    """What times both sides, and what shows it."""
    from archcmp.experiments.contests.composed import check_composition
    from archcmp.experiments.contests.masked import race_windows
    from archcmp.experiments.contests.transformers import Race
    from archcmp.report.race_table import composition_table, race_table, windows_table

    contests: dict[str, tuple[Callable[..., Iterator[Any]], Callable[..., Table]]] = {
        PEER: (lambda *contest: Race(*contest).run(), race_table),
        COMPOSED: (check_composition, composition_table),
        MASKED: (race_windows, windows_table),
    }
    return contests[against]


def _race(subject: NamedSpec, settings: RaceSettings, against: str, as_json: bool) -> None:
    """Time, then print a table or the document; after Ctrl-C, of what was finished."""
    from archcmp.cli.progress import measuring_progress
    from archcmp.report.terminal import print_tables
    from archcmp.timing.device import device_facts, resolve_device, versions

    run, table = _contest(against)
    results, interrupted = [], False
    with measuring_progress() as on_progress:
        try:
            for result in run(subject.spec, settings, on_progress):
                results.append(result)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted and not results:
        raise KeyboardInterrupt
    environment = versions() | device_facts(resolve_device(settings.device))
    if against == PEER:
        environment[PEER] = version(PEER)
    if as_json:
        document = {
            "schema": SCHEMA,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "environment": environment,
            "settings": asdict(settings),
            "model": subject.id,
            "against": against,
            "results": [asdict(result) for result in results],
        }
        print_json(document)
    else:
        print_tables([table(subject.id, settings, environment, results)])
    if interrupted:
        raise typer.Exit(INTERRUPTED)
