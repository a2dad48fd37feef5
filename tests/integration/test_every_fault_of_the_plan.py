"""Each fault of the plan once, before the running server: its outcome, its books, its secrets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from devflow_sandbox import load_plan
from integration.doors import Installation

ROOT = Path(__file__).parents[2]
PLAN = load_plan()


@pytest.mark.timeout(1_200)  # hundreds of plays; under a minute where nothing else runs
def test_every_case_ends_as_the_plan_expects(tmp_path: Path) -> None:
    told = tmp_path / "faults.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/faults.py", "--quick", "--door=server", f"--json={told}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1_000,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    plays = json.loads(told.read_text())
    assert [one["case"] for one in plays if one["mismatches"]] == []
    assert [one["case"] for one in plays if one["broken"]] == []
    assert {one["case"] for one in plays} == {case.id for case in PLAN}
    ways = {(one["dialect"], one["is_stream"]) for one in plays}
    assert len(ways) == 6
    assert {one["outcome"] for one in plays} == {"success", "failed", "cut", "left"}


def test_the_command_lists_the_plan(tmp_path: Path) -> None:
    installation = Installation(home=tmp_path / "home", folder=tmp_path / "folder")
    listed = installation.run("sandbox", "--list-faults")
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()[: len(PLAN)]
    assert [line.split()[0] for line in lines] == [case.id for case in PLAN]
    as_json = json.loads(installation.run("sandbox", "--list-faults", "--json").stdout)
    assert as_json["cases"] == [case.as_json() for case in PLAN]
    refused = installation.run("sandbox", "--fault", "U12-nothing")
    assert refused.returncode == 3
    assert "U12-seconds" in refused.stderr
