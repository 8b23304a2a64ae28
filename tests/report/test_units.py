"""Quantities print with three digits and their unit."""

from __future__ import annotations

import pytest

from archcmp.units import Bytes, Count, Flops, Seconds, Share, TokensPerSecond


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Count(7_298_617_344), "7.30 B"),
        (Count(0), "0"),
        (Count(999), "999"),
        (Count(999_999), "1.00 M"),
        (Count(405_853_388_800), "406 B"),
        (Flops(31_839_129_436_160), "31.8 TFLOP"),
        (Bytes(131_072), "128 KiB"),
        (Bytes(524_288 * 2048), "1.00 GiB"),
        (Bytes(1), "1 B"),
        (Seconds(0.0034), "3.40 ms"),
        (Seconds(12.0), "12 s"),
        (Seconds(2.5e-5), "25.0 us"),
        (TokensPerSecond(1234.5), "1,234 tok/s"),
        (TokensPerSecond(8.314), "8.31 tok/s"),
        (Share(0.884), "88 %"),
        (Share(0.0012), "0.12 %"),
        (Share(0.0), "0 %"),
    ],
)
def test_quantities_print_with_three_digits_and_unit(quantity: object, text: str) -> None:
    assert str(quantity) == text
