"""The systemd unit takes from the service what it never needs."""

from configparser import ConfigParser
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "devflow.service"
CONFINEMENT = {
    "UMask": "0077",
    "LimitCORE": "0",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "LockPersonality": "yes",
    "ProtectKernelModules": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
}


def test_the_unit_confines_the_service() -> None:
    unit = ConfigParser(strict=False)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - names keep their case
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    service = dict(unit["Service"])
    assert {name: service.get(name) for name in CONFINEMENT} == CONFINEMENT
