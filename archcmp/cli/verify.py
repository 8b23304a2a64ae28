"""archcmp and transformers, logits side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.progress import waiting
from archcmp.spec.yaml.load import load_models
from archcmp.timing.process import settle_process

if TYPE_CHECKING:
    from archcmp.oracle.verify import Verification


def command(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC|FOLDER",
            help="Specs, or folders with config.json and safetensors.",
            autocompletion=complete.specs,
        ),
    ],
    tolerance: Annotated[
        float | None, typer.Option(help="How far logits may differ, in float32.", show_default="1e-4")
    ] = None,
    as_json: o.Json = False,
) -> None:
    folders = {target: Path(target) for target in targets if Path(target).is_dir()}
    specs = {target: load_models([target])[0] for target in targets if target not in folders}
    settle_process()
    results = []
    for target in targets:
        with waiting(f"verifying {target}"):
            from archcmp.oracle.verify import TOLERANCE, verify_checkpoint, verify_spec

            bound = TOLERANCE if tolerance is None else tolerance
            results.append(
                verify_checkpoint(folders[target], bound)
                if target in folders
                else verify_spec(specs[target].id, specs[target].spec, bound)
            )
        if not as_json:
            typer.echo(_line(results[-1]))
    if as_json:
        typer.echo(json.dumps([asdict(result) | {"agrees": result.agrees} for result in results], indent=2))
    raise typer.Exit(int(not all(result.agrees for result in results)))


def _line(result: Verification) -> str:
    verdict = "ok" if result.agrees else "DIFFERS"
    counted = (
        "" if result.params == result.transformers_params else f", parameters {result.transformers_params:,}"
    )
    return (
        f"{result.id}: {verdict}. Logits differ from {result.model_type} of transformers by up to "
        f"{result.whole:.1e}, decoding {result.cached:.1e} (tolerance {result.tolerance:g}, standard "
        f"deviation {result.logits_std:.2g}); {result.params:,} parameters{counted}"
    )
