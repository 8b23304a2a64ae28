"""Commands about other libraries' models: import a configuration, verify against transformers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcmp.cli.app import Json, app, print_json
from archcmp.errors import UsageError

if TYPE_CHECKING:
    from archcmp.oracle.verify import Verification


@app.command("import")
def import_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.json, or the folder it is in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.yaml", show_default="standard output")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.", show_default="the file's name")] = None,
    as_json: Json = False,
) -> None:
    """Turn a Hugging Face configuration into a spec."""
    from archcmp.files import write_whole
    from archcmp.spec.hf import import_config
    from archcmp.spec.yaml.find import SUFFIXES
    from archcmp.spec.yaml.write import to_short_yaml

    if output is not None and output.suffix not in SUFFIXES:
        raise UsageError(f"{output}: a spec is a {' or '.join(SUFFIXES)} file")
    if output is not None and output.exists():
        raise UsageError(f"{output} exists; choose another name or remove it")
    imported = import_config(config, name or (output.stem if output else None))
    text = to_short_yaml(imported.spec)
    if imported.left_out:
        typer.echo(f"archcmp: left out: {', '.join(imported.left_out)}", err=True)
    if imported.ignored:
        typer.echo(f"archcmp: of no consequence, ignored: {', '.join(imported.ignored)}", err=True)
    if output is not None:
        write_whole(output, text)
    if as_json:
        written = None if output is None else str(output)
        about = {"written": written, "ignored": imported.ignored, "left_out": imported.left_out}
        print_json(about | {"spec": imported.spec.model_dump(mode="json")})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        shown = output if output.is_absolute() else f"./{output}"
        typer.echo(f"Wrote {output}. Next: archcmp check {shown} && archcmp verify {shown}")


@app.command()
def verify(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="SPEC|FOLDER...", help="Specs, or folders with config.json and safetensors."),
    ],
    tolerance: Annotated[
        float | None, typer.Option(help="How far logits may differ, in float32.", show_default="1e-4")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare with transformers: the same weights in both, logits side by side. Specs are shrunk first."""
    from archcmp.cli.progress import waiting
    from archcmp.spec.yaml.load import load_models
    from archcmp.timing.process import settle_process

    folders = {target: Path(target) for target in targets if Path(target).is_dir()}
    subjects = {target: load_models([target])[0] for target in targets if target not in folders}
    settle_process()
    results = []
    for target in targets:
        with waiting(f"verifying {target}"):
            from archcmp.oracle.verify import TOLERANCE, verify_checkpoint, verify_spec

            bound = TOLERANCE if tolerance is None else tolerance
            results.append(
                verify_checkpoint(folders[target], bound)
                if target in folders
                else verify_spec(subjects[target].id, subjects[target].spec, bound)
            )
        if not as_json:
            typer.echo(_line(results[-1]))
    if as_json:
        print_json([asdict(result) | {"agrees": result.agrees} for result in results])
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
