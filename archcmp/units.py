"""Quantities that know how they are printed."""

from __future__ import annotations


def _scaled(value: float, steps: tuple[str, ...], base: float) -> str:
    """Three significant digits, in the first unit with at most three before the point."""
    index = 0
    while abs(value) >= 999.5 and index < len(steps) - 1:
        value /= base
        index += 1
    size = abs(value)
    digits = 3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{digits if index or value != int(value) else 0}f} {steps[index]}".rstrip()


class Count(int):
    """A plain number of things: 7298617344 -> '7.30 B'."""

    def __str__(self) -> str:
        return _scaled(int(self), ("", "K", "M", "B", "T"), 1000)


class Flops(int):
    """Floating-point operations: 31839129436160 -> '31.8 TFLOP'."""

    def __str__(self) -> str:
        return _scaled(int(self), ("FLOP", "KFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"), 1000)


class Bytes(int):
    """Memory: 131072 -> '128 KiB'."""

    def __str__(self) -> str:
        return _scaled(int(self), ("B", "KiB", "MiB", "GiB", "TiB"), 1024)


class DecimalBytes(int):
    """Bytes as data sheets print them: 3350000000000 -> '3.35 TB'."""

    def __str__(self) -> str:
        return _scaled(int(self), ("B", "KB", "MB", "GB", "TB"), 1000)


class Seconds(float):
    """A duration: 0.0034 -> '3.40 ms'."""

    def __str__(self) -> str:
        value = float(self)
        for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
            if value >= factor * 0.9995:
                return _scaled(value / factor, (unit,), 1000)
        return _scaled(value * 1e9, ("ns",), 1000)


class TokensPerSecond(float):
    """A rate: 1234.5 -> '1,234 tok/s', 8.31 -> '8.31 tok/s'."""

    def __str__(self) -> str:
        value = float(self)
        return f"{value:,.0f} tok/s" if value >= 99.95 else f"{value:#.3g} tok/s"


class Share(float):
    """A part of a whole: 0.884 -> '88 %', 0.0012 -> '0.12 %'."""

    def __str__(self) -> str:
        percent = 100 * float(self)
        return f"{percent:.0f} %" if percent >= 9.95 or not percent else f"{percent:.2g} %"


def number(value: float) -> str:
    """A plain number: 4096 -> '4,096', 500000.0 -> '500,000', 0.25 -> '0.25', 1e-5 -> '1e-05'."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:g}"


def rounded(value: float) -> float:
    """A figure of a run as a document keeps it: six significant digits."""
    return float(f"{value:.6g}")
