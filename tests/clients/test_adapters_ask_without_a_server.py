"""The adapters of `devflow_gateway.interop` with the real frameworks, and their examples."""

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clients.matrix import CLIENT_TIMEOUT_S, PROGRAMS, group_folder
from clients.pinned import BYTECODE
from devflow_sandbox.threaded import ThreadedSandbox
from integration.living import entries_of
from integration.served import upstream_of

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "interop").glob("*.py"))
RUN = """
import runpy, site, sys
site.addsitedir(sys.argv[1])  # the frameworks' own packages come first, the workspace's behind
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(program: Path, home: Path, sandbox: ThreadedSandbox) -> str:
    """Run a program where the frameworks are installed, and return what it prints."""
    python = group_folder("interop") / "bin" / "python"
    ours = next((ROOT / ".venv" / "lib").glob("python3*/site-packages"))
    done = subprocess.run(
        [str(python), "-c", RUN, str(ours), str(program)],
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPYCACHEPREFIX": str(BYTECODE),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask GitHub for prices
            **upstream_of(sandbox),
        },
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_every_framework_plays_through_the_gateway(
    openrouter_sandbox: ThreadedSandbox, tmp_path: Path
) -> None:
    results: dict[str, Any] = json.loads(
        run(PROGRAMS / "adapters.py", tmp_path, openrouter_sandbox)
    )
    ai, chain, lite = results["pydantic_ai"], results["langchain"], results["litellm"]
    for played in (ai, chain, lite):
        assert played["text"] == played["stream"] == "OK"
    assert ai["tool_calls"] == 1
    assert ai["typed"] == chain["typed"] == "Forecast"
    assert chain["tool"] == lite["tool"] == lite["streamed_tool"] == "get_weather"
    assert chain["vector"] > 1
    assert lite["vectors"] == 2
    assert "bring a Gateway" in chain["blocking"]
    assert ai["unknown"] == ["ModelNotFoundError", 404]
    assert chain["unknown"] == ["OpenAIModelNotFoundError", 404]
    assert lite["unknown"] == ["NotFoundError", 404]
    assert lite["dear"] == ["PaymentRequiredError", 402]
    assert results["llm"] == {"text": "OK", "tokens": 1}
    blocking = results["blocking"]
    assert blocking.pop("llm_schema") == ["n"]
    assert blocking.pop("llm_tool")
    assert set(blocking.values()) == {"OK"}

    costs = {str(entry.cost_usd) for entry in entries_of(tmp_path)}
    assert chain["cost"] in costs
    assert str(Decimal(str(lite["cost"])).normalize()) in {
        str(Decimal(cost).normalize()) for cost in costs
    }
    billed = sum(Decimal(call["cost_usd"]) for call in openrouter_sandbox.bill()["calls"])
    assert sum(entry.cost_usd for entry in entries_of(tmp_path)) == billed


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.stem)
def test_an_example_runs(
    program: Path, openrouter_sandbox: ThreadedSandbox, tmp_path: Path
) -> None:
    assert "test_login" in run(program, tmp_path, openrouter_sandbox)
    entries = entries_of(tmp_path)
    assert entries
    assert all(entry.outcome == "succeeded" for entry in entries)
