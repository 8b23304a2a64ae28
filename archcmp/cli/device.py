"""What this machine can do at best."""

from __future__ import annotations

from archcmp.cli.app import Device, Json, app, print_json


@app.command("device")
def device_command(
    device: Device = None,
    as_json: Json = False,
) -> None:
    """This device, calibrated: its best matmul per dtype and its best copy, the yardsticks of MFU."""
    from archcmp.measure.process import settle_process
    from archcmp.report.measured import device_table
    from archcmp.report.progress import waiting
    from archcmp.report.terminal import print_tables

    settle_process()
    with waiting("calibrating"):
        from archcmp.measure.device import resolve_device
        from archcmp.pipeline import calibrate_device

        facts = calibrate_device(resolve_device(device))
    if as_json:
        print_json(facts)
    else:
        print_tables([device_table(facts)])
