"""Defines the pytest fixture `openrouter_sandbox`; nothing is imported until a test uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from devflow_sandbox.threaded import ThreadedSandbox


@pytest.fixture
def openrouter_sandbox() -> Iterator[ThreadedSandbox]:
    """Yield a sandbox on a free loopback port, in its own thread, for one test.

    It serves blocking and asynchronous clients; the test may call `bill()`, `set_faults()` and
    `set_script()`.
    """
    from devflow_sandbox.threaded import ThreadedSandbox

    with ThreadedSandbox() as sandbox:
        yield sandbox
