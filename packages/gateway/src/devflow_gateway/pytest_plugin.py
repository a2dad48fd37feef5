"""Defines the pytest fixtures `devflow_settings` and `devflow_gateway`, over the stand-in.

They need the package devflow-gateway-sandbox, whose fixture `openrouter_sandbox` is the stand-in.
Nothing of ours is imported until a test uses one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from devflow_core.settings import Settings

    from devflow_gateway.gateway import Gateway


class StandInAddress(Protocol):
    """What the fixtures need of a stand-in for OpenRouter."""

    @property
    def base_url(self) -> str:
        """Its address."""
        ...

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        ...


@pytest.fixture
def devflow_settings(openrouter_sandbox: StandInAddress, tmp_path: Path) -> Settings:
    """Return settings with the stand-in as OpenRouter and a data folder of the test's own.

    Neither the environment nor any `devflow.toml` of the user is read.
    """
    from devflow_core.settings import Settings

    home = tmp_path / "devflow-home"
    return Settings.load(
        {"HOME": str(home)},
        judge_folder=None,
        base_url=openrouter_sandbox.base_url,
        api_key=openrouter_sandbox.api_key,
        data_dir=home / "data",
    )


@pytest.fixture
def devflow_gateway(devflow_settings: Settings) -> Iterator[Gateway]:
    """Yield an open synchronous gateway over the stand-in; async tests take `devflow_settings`.

    The stand-in itself is the fixture `openrouter_sandbox`: its bill, its faults, its script.
    """
    from devflow_gateway.gateway import Gateway

    with Gateway(devflow_settings) as gateway:
        yield gateway
