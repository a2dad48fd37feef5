"""What the doctor says of the entries in Claude Code's files, with programs that are invented."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import check_integration, plan_install
from devflow_claude_code.integration.client_settings import read_client_settings

VERSION = "1.2.3"
GOOD = """#!/bin/sh
case "$1" in
  hook) cat >/dev/null; echo '{"systemMessage": "hello"}' ;;
  statusline) cat >/dev/null; echo "DevFlow · Model" ;;
  --version) echo "devflow 1.2.3" ;;
esac
"""
Check = Callable[..., dict[str, tuple[bool, str]]]


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return tmp_path / ".claude"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A DevFlow that works, and is another file than the one that asks."""
    return write_program(tmp_path / "it's here" / "devflow", GOOD)


@pytest.fixture
def check(config_dir: Path, project: Path, tmp_path: Path) -> Check:
    """Checks it all; the result by the names of the findings."""

    def run(search_path: str = "") -> dict[str, tuple[bool, str]]:
        found = check_integration(
            config_dir=config_dir,
            project=project,
            program=tmp_path / "own" / "devflow",
            version=VERSION,
            search_path=search_path,
        )
        return {one.name: (one.is_ok, one.detail) for one in found}

    return run


@pytest.fixture
def install(config_dir: Path, tmp_path: Path, program: Path) -> Callable[..., None]:
    def put(command: str = shlex.quote(str(program))) -> None:
        plan_install(
            config_dir / "settings.json", data_dir=tmp_path / "data", command=command
        ).apply()

    return put


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def put_server(project: Path, command: str) -> None:
    server = {"type": "stdio", "command": command, "args": ["mcp"]}
    (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"devflow": server}}))


def test_nothing_that_is_installed_is_no_fault(check: Check) -> None:
    ((is_ok, detail),) = check().values()
    assert is_ok
    assert "not installed" in detail


def test_what_works_is_well(check: Check, install: Callable[..., None], project: Path) -> None:
    install()
    put_server(project, "${NO_SUCH_VARIABLE:-/bin/sh}")
    found = check()
    assert found.keys() == {"hooks", "statusline", "mcp"}
    assert all(is_ok for is_ok, _ in found.values()), found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("1.2.3", "9.9"), "is devflow 9.9, and this is devflow 1.2.3"),
        (GOOD.replace("devflow 1.2.3", ""), "is no DevFlow that can be started"),
        ("#!/bin/sh\necho oh no >&2; exit 3\n", "fails with status 3: oh no"),
        ("#!/bin/sh\necho what\n", "gives no answer that Claude Code takes"),
        ("#!/no/such/python\n", "fails with status 12"),
    ],
)
def test_a_program_that_does_not_do(
    check: Check, install: Callable[..., None], program: Path, text: str, words: str
) -> None:
    install()
    write_program(program, text)
    for name in ("hooks", "statusline"):
        is_ok, detail = check()[name]
        assert not is_ok
        assert words in detail
        assert "Run `devflow integrate` again." in detail


def test_a_program_that_hangs_is_ended_with_all_it_has_started(
    check: Check, install: Callable[..., None], program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devflow_claude_code.integration.check.MAX_RUN_S", 0.5)
    install()
    # a child of the shell holds the shell's pipes, and this one
    alive = program.with_name("alive")
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    write_program(program, f'#!/bin/sh\nsleep 1000 3>"{alive}"; echo\n')
    assert "has not ended within" in check()["hooks"][1]
    while True:  # until nobody holds its other end
        try:
            assert os.read(reader, 1) == b""
        except BlockingIOError:
            continue
        break
    os.close(reader)


def test_a_program_that_may_not_be_run(
    check: Check, install: Callable[..., None], program: Path
) -> None:
    install()
    program.chmod(0o644)
    assert "is not executable" in check()["hooks"][1]
    program.unlink()
    assert "does not exist" in check()["hooks"][1]


def test_a_mere_name_is_on_no_path_for_sure(check: Check, install: Callable[..., None]) -> None:
    install("devflow")
    assert "`devflow` is not on every PATH" in check()["statusline"][1]


def test_hooks_that_are_missing_are_named(
    check: Check, install: Callable[..., None], config_dir: Path
) -> None:
    install()
    file = config_dir / "settings.json"
    settings = json.loads(file.read_text())
    del settings["hooks"]["Stop"]
    file.write_text(json.dumps(settings))
    assert check()["hooks"] == (False, "there is none at Stop. Run `devflow integrate` again.")


@pytest.mark.parametrize("name", ["settings.json", "settings.local.json"])
def test_settings_of_the_project_that_go_before(
    check: Check, install: Callable[..., None], project: Path, name: str
) -> None:
    install()
    file = project / ".claude" / name
    file.parent.mkdir()
    file.write_text(json.dumps({"statusLine": {"type": "command", "command": "touch here"}}))
    found = check()
    assert found["hooks"][0]
    assert found["statusline"][0] is False
    assert str(file) in found["statusline"][1]
    assert not (project / "here").exists()


def test_hooks_that_are_switched_off(
    check: Check, install: Callable[..., None], config_dir: Path, project: Path
) -> None:
    install()
    user, local = config_dir / "settings.json", project / ".claude" / "settings.local.json"
    user.write_text(json.dumps({**json.loads(user.read_text()), "disableAllHooks": True}))
    for name in ("hooks", "statusline"):
        assert check()[name] == (
            False,
            f"turned off by `disableAllHooks` in {user}. Remove it there.",
        )
    local.parent.mkdir()
    local.write_text('{"disableAllHooks": false}')
    assert check()["hooks"][0]


def test_the_administrator_goes_before_all(tmp_path: Path, config_dir: Path, project: Path) -> None:
    managed = tmp_path / "managed.json"
    managed.write_text('{"allowManagedHooksOnly": true}')
    settings = read_client_settings(config_dir, project, managed=managed)
    assert settings.find_off_switch() == f"`allowManagedHooksOnly` in {managed}"


def test_the_home_folder_as_a_project(
    install: Callable[..., None], check: Check, config_dir: Path, project: Path
) -> None:
    install()
    (project / ".claude").symlink_to(config_dir)
    assert check()["statusline"][0]


def test_settings_that_claude_code_ignores(check: Check, config_dir: Path) -> None:
    config_dir.mkdir()
    (config_dir / "settings.json").write_text("{")
    is_ok, detail = check()["integration"]
    assert not is_ok
    assert "is not a JSON object" in detail


def test_a_server_that_a_project_names_is_not_run(
    check: Check, project: Path, tmp_path: Path
) -> None:
    trap = write_program(project / "devflow", f"#!/bin/sh\ntouch {tmp_path}/trapped\n")
    for command in (str(trap), "./devflow"):
        put_server(project, command)
        check()
    assert not (tmp_path / "trapped").exists()


def test_a_server_that_is_found_by_its_name(
    check: Check, project: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_server(project, "${ITS_NAME:-devflow}")
    assert check(str(program.parent))["mcp"][0]
    is_ok, detail = check()["mcp"]
    assert (is_ok, "names devflow, which cannot be started" in detail) == (False, True)
    monkeypatch.setenv("ITS_NAME", "other")
    assert "names other, which" in check(str(program.parent))["mcp"][1]
    monkeypatch.delenv("ITS_NAME")
    write_program(program, GOOD.replace("1.2.3", "9.9"))
    assert "is devflow 9.9" in check(str(program.parent))["mcp"][1]


def test_a_server_that_is_refused(check: Check, project: Path, config_dir: Path) -> None:
    put_server(project, "/bin/sh")
    settings: dict[str, Any] = {"disabledMcpjsonServers": ["devflow"]}
    config_dir.mkdir()
    (config_dir / "settings.json").write_text(json.dumps(settings))
    assert "`disabledMcpjsonServers` in" in check()["mcp"][1]
