"""The fixture `openrouter_sandbox`, for pytest. Nothing is imported until a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from devflow_sandbox.threaded import ThreadedSandbox


@pytest.fixture
def openrouter_sandbox() -> Iterator[ThreadedSandbox]:
    """A sandbox on a free loopback port with a loop of its own, for this test alone.

    It serves clients that block as well as those that do not; `bill()`, `set_faults()` and
    `set_script()` may be called from the test.
    """
    from devflow_sandbox.threaded import ThreadedSandbox

    with ThreadedSandbox() as sandbox:
        yield sandbox
