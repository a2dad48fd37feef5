import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

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


class Script:
    """Builds the rows of a session, one after the other."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._calls = 0

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = len(self.rows) + 1
        row: dict[str, Any] = {
            "type": kind,
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "parentUuid": self.rows[-1]["uuid"] if self.rows else None,
            "isSidechain": False,
            "timestamp": f"2026-11-21T{number // 3600:02d}:{number // 60 % 60:02d}"
            f":{number % 60:02d}.000Z",
            "sessionId": "11111111-2222-4333-8444-555555555555",
            "version": "2.1.329",
            "cwd": "/home/dev/demo",
            "gitBranch": "main",
            **fields,
        }
        self.rows.append(row)
        return row

    def prompt(self, text: str, **fields: Any) -> dict[str, Any]:
        return self.add("user", message={"role": "user", "content": text}, **fields)

    def say(self, *content: dict[str, Any] | str, **message: Any) -> dict[str, Any]:
        blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
        return self.add(
            "assistant",
            message={
                "id": f"msg_{len(self.rows)}",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-5-5",
                "content": blocks,
                **message,
            },
        )

    def call(
        self, name: str, given: dict[str, Any], result: Any, *, is_error: bool = False, **row: Any
    ) -> dict[str, Any]:
        self._calls += 1
        name_of_call = f"toolu_{self._calls}"
        self.say({"type": "tool_use", "id": name_of_call, "name": name, "input": given})
        block = {
            "type": "tool_result",
            "tool_use_id": name_of_call,
            "content": result,
            "is_error": is_error,
        }
        return self.add("user", message={"role": "user", "content": [block]}, **row)


@pytest.fixture
def script() -> Script:
    return Script()
