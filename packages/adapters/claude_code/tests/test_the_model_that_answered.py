"""A reply through the gateway counts as that of the model that answered."""

import json
from pathlib import Path
from typing import Any

from devflow_claude_code import Transcript
from devflow_claude_code.testing import TranscriptScript


def models(tmp_path: Path, **fields: Any) -> list[str | None]:
    script = TranscriptScript()
    script.prompt("Hello")
    script.say("Hello.")
    script.rows[-1]["message"] |= {"model": "claude-sonnet-4-0", **fields}
    file = tmp_path / "11111111-2222-4333-8444-555555555555.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in script.rows))
    transcript = Transcript(file)
    transcript.refresh()
    return [row.model for row in transcript.rows if row.type == "assistant"]


def test_the_model_beside_the_name_for_anthropic_counts(tmp_path: Path) -> None:
    assert models(tmp_path, devflow={"model": "z-ai/glm-5"}) == ["z-ai/glm-5"]
    for nothing in ({"model": 5}, "z-ai/glm-5", None, {}):
        assert models(tmp_path, devflow=nothing) == ["claude-sonnet-4-0"]
