"""One small spec of each design: the default size of every family, shrunk."""

from __future__ import annotations

from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.known import FILES, distinct

DESIGNS = distinct({family: shrunk(load_spec(file)) for family, file in FILES.items()})
