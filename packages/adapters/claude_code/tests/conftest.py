import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code.testing import TranscriptScript

SAMPLES = Path(__file__).parent / "samples"
TRANSCRIPTS = SAMPLES / "transcripts"


@pytest.fixture(scope="session")
def transcripts() -> Path:
    return TRANSCRIPTS


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


def every_session() -> list[Path]:
    expected: dict[str, Any] = json.loads((SAMPLES / "expected_branches.json").read_text())
    return [TRANSCRIPTS / name for name in expected]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recorded" in metafunc.fixturenames:
        metafunc.parametrize(
            "recorded",
            every_session(),
            ids=lambda path: "-".join(Path(str(path)).parts[-3:-1]) + "-" + path.stem[:4],
        )


@pytest.fixture
def recording(transcripts: Path) -> Callable[[str], Path]:
    """The session of a scenario, as in `2.1.329/coding`."""

    def find(name: str) -> Path:
        return min(
            path
            for path in (transcripts / name).glob("*-*-*-*-*.jsonl")
            if not path.name.startswith("agent")
        )

    return find


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Iterable[object]], Path]:
    """A transcript with these rows, at a path of the right form."""

    def to_file(rows: Iterable[object]) -> Path:
        path = tmp_path / "11111111-2222-4333-8444-555555555555.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def script() -> TranscriptScript:
    return TranscriptScript()
