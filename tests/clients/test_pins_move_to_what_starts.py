"""`make clients-update` moves a pin only to what can be installed and starts, and says so."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NPM = """#!/usr/bin/env python3
import json, pathlib, sys
asked, here = sys.argv[1:], pathlib.Path.cwd()
newest = json.loads(pathlib.Path(__file__).with_name("newest.json").read_text())
if asked[0] == "install":
    package = json.loads((here / "package.json").read_text())
    (name,) = package["dependencies"]
    if newest.get(name) is None:
        sys.exit("npm error: no network")
    package["dependencies"][name] = newest[name]["version"]
    (here / "package.json").write_text(json.dumps(package))
    (here / "package-lock.json").write_text('{"packages": {}}')
else:
    (name,) = json.loads((here / "package.json").read_text())["dependencies"]
    for path, script in newest[name]["files"].items():
        program = here / "node_modules" / path
        program.parent.mkdir(parents=True)
        program.write_text(script)
"""
"""A package manager that has one version of each package, or none."""
STARTS, FAILS = "#!/bin/sh\necho 9.9.9\n", "#!/bin/sh\necho no such instruction >&2\nexit 3\n"
GROUPS = {
    "ccusage": "ccusage",
    "claude-code-2.0.0": "@anthropic-ai/claude-code",
    "claude-code-2.1.0": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
}
CLAUDE = "@anthropic-ai/claude-code-linux-x64/claude"
NEWEST: dict[str, Any] = {
    "ccusage": {"version": "1.1.0", "files": {}},
    "@anthropic-ai/claude-code": {"version": "2.2.0", "files": {CLAUDE: STARTS}},
    "@openai/codex": {
        "version": "1.1.0",
        "files": {"@openai/codex-linux-x64/vendor/x/bin/codex": FAILS},
    },
}


class Checkout:
    """A checkout with pins of its own, whose package manager is a script."""

    def __init__(self, folder: Path) -> None:
        self.clients = folder / "tests" / "clients"
        self.pins = self.clients / "pins"
        for group, package in GROUPS.items():
            (self.pins / group).mkdir(parents=True)
            pin = {"dependencies": {package: group.rpartition("-")[2] if "-" in group else "1.0.0"}}
            (self.pins / group / "package.json").write_text(json.dumps(pin))
            (self.pins / group / "package-lock.json").write_text("{}")
        for name in ("install.py", "pinned.py"):
            shutil.copy(HERE / name, self.clients)
        self.tools = folder / "bin"
        self.tools.mkdir()
        (self.tools / "npm").write_text(NPM)
        (self.tools / "npm").chmod(0o755)

    def update(self, newest: object) -> str:
        """Update with these in the registry; what is said."""
        (self.tools / "newest.json").write_text(json.dumps(newest))
        done = subprocess.run(
            [sys.executable, str(self.clients / "install.py"), "--update"],
            env={"PATH": f"{self.tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def contents(self) -> dict[str, str]:
        """Every pin that is there, with its text."""
        return {
            str(path.relative_to(self.pins)): path.read_text() for path in self.pins.rglob("*.json")
        }


def test_what_does_not_start_stays_where_it_is(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    before = checkout.contents()
    said = checkout.update(NEWEST)
    assert "ccusage stays at ccusage 1.0.0. ccusage has no program for this machine." in said
    assert "codex stays at @openai/codex 1.0.0." in said
    assert "no such instruction" in said
    assert "@anthropic-ai/claude-code: 2.1.0 -> 2.2.0" in said
    after = checkout.contents()
    for group in ("ccusage", "codex", "claude-code-2.0.0"):
        for name in ("package.json", "package-lock.json"):
            assert after[f"{group}/{name}"] == before[f"{group}/{name}"]
    groups = {name.partition("/")[0] for name in after}
    assert groups == {"ccusage", "codex", "claude-code-2.0.0", "claude-code-2.2.0"}


def test_without_a_registry_all_stays_and_is_said(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    before = checkout.contents()
    said = checkout.update({})
    assert said.count("no network") == 3
    assert checkout.contents() == before


def test_a_pin_at_the_newest_version_is_not_mentioned(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.update(NEWEST)
    again = {"@anthropic-ai/claude-code": NEWEST["@anthropic-ai/claude-code"]}
    assert "claude-code:" not in checkout.update(again)
