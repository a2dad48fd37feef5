"""Checks what `devflow_core` exports, and that importing it does not load the pipeline."""

import subprocess
import sys
from importlib import import_module

import devflow_core
import pytest

PORTS = {
    "AttemptLog", "Book", "Call", "Classifier", "ContextInjector", "EventStream", "Executor",
    "Ledger", "OpenAttempt", "Router", "Upstream", "UpstreamKey",
}  # fmt: skip


def test_every_port_is_exported() -> None:
    assert set(devflow_core.__all__) >= PORTS
    ports = import_module("devflow_core.ports")
    here = {one.__name__ for one in vars(ports).values() if _is_of(one, ports.__name__)}
    assert here <= set(devflow_core.__all__)


def _is_of(one: object, module: str) -> bool:
    return isinstance(one, type) and one.__module__ == module


def test_every_exported_name_is_there_and_in_its_module() -> None:
    assert set(devflow_core._HOMES) == set(devflow_core.__all__)
    assert sorted(devflow_core.__all__) == devflow_core.__all__
    assert set(devflow_core.__all__) <= set(dir(devflow_core))
    for name in devflow_core.__all__:
        home = import_module(f"devflow_core.{devflow_core._HOMES[name]}")
        assert getattr(devflow_core, name) is getattr(home, name)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'devflow_core' has no attribute 'Nonsense'"):
        getattr(devflow_core, "Nonsense")  # noqa: B009 - the type checker knows that it fails


def test_who_reads_settings_does_not_load_the_pipeline() -> None:
    code = (
        "import sys, devflow_core, devflow_core.settings\n"
        "loaded = {'devflow_core.pipeline', 'devflow_core.journal', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
