"""What this machine can do at best."""

from __future__ import annotations

from archcmp.cli.app import Device, Json, app, print_json


@app.command("device")
def device_command(
    device: Device = None,
    as_json: Json = False,
) -> None:
    """This device, calibrated: its best matmul per dtype and its best copy, the yardsticks of MFU."""
    from archcmp.cli.progress import waiting
    from archcmp.report.measured import device_table
    from archcmp.report.terminal import print_tables
    from archcmp.timing.process import settle_process

    settle_process()
    with waiting("calibrating"):
        from archcmp.pipeline import calibrate_device
        from archcmp.timing.device import resolve_device

        facts = calibrate_device(resolve_device(device))
    if as_json:
        print_json(facts)
    else:
        print_tables([device_table(facts)])
