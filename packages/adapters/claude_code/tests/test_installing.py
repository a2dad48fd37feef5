import json
import shlex
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import SettingsChange
from devflow_claude_code import plan_install as plan_install_with
from devflow_claude_code import plan_undo as plan_undo_with
from devflow_claude_code.integration.command_lines import CommandLine, read_command_line
from devflow_core.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

OTHERS = """{
    "model": "opus",
    "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]},
    "permissions": {"allow": ["Bash(ls:*)"]}
}"""

GUARD = " 2>/dev/null || true"
OLD = """{
  "model": "opus",
  "hooks": {
    "Stop": [{"hooks": [
      {"type": "command", "command": "say done"},
      {"type": "command", "command": "devflow hook", "timeout": 10}
    ]}],
    "SessionEnd": [{"hooks": [{"type": "command", "command": "devflow hook", "timeout": 10}]}]
  },
  "statusLine": {"type": "command", "command": "devflow statusline", "padding": 0}
}
"""
"""What a DevFlow wrote that called itself by name, and the user has moved about since."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".claude" / "settings.json"


def plan_install(path: Path, **options: Any) -> SettingsChange:
    return plan_install_with(path, data_dir=data_dir_of(path), **options)


def plan_undo(path: Path) -> SettingsChange:
    return plan_undo_with(path, data_dir=data_dir_of(path))


def data_dir_of(path: Path) -> Path:
    """DevFlow's own folder; not beside the file."""
    return path.parent.with_name(f"{path.parent.name}-data")


def put(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_nothing_is_written_before_the_change_is_applied(path: Path) -> None:
    change = plan_install(path)
    assert change.is_needed
    assert change.diff.startswith("--- /dev/null\n+++ ")
    assert '+            "command": "devflow hook 2>/dev/null || true",\n' in change.diff
    assert not path.parent.exists()


def test_hooks_and_status_line_stand_beside_those_of_others(path: Path) -> None:
    put(path, OTHERS)
    change = plan_install(path, command="/opt/bin/devflow")
    change.apply()
    settings = json.loads(path.read_text())
    assert settings["model"] == "opus"
    assert settings["hooks"]["Stop"] == [
        {"hooks": [{"type": "command", "command": "say done"}]},
        {"hooks": [{"type": "command", "command": f"/opt/bin/devflow hook{GUARD}", "timeout": 10}]},
    ]
    assert set(settings["hooks"]) == {"SessionStart", "Stop", "SessionEnd"}
    line = f"/opt/bin/devflow statusline{GUARD}"
    assert settings["statusLine"] == {"type": "command", "command": line}
    assert "\n    " in path.read_text()
    assert "No newline at end of file" in change.diff


@given(st.binary(max_size=3), st.sampled_from(["", "\n", "  \n"]), st.booleans())
def test_undone_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, name: bytes, end: str, is_twice: bool
) -> None:
    path = tmp_path_factory.mktemp("undo") / "settings.json"
    original = OTHERS.replace("opus", name.hex()) + end
    path.write_text(original)
    path.chmod(0o640)
    plan_install(path).apply()
    if is_twice:
        plan_install(path, features=("mcp",)).apply()
    plan_undo(path).apply()
    assert path.read_text() == original
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_not_there_goes_again(path: Path) -> None:
    plan_install(path).apply()
    assert path.stat().st_mode & 0o777 == 0o600
    undo = plan_undo(path)
    assert "+++ /dev/null" in undo.diff
    undo.apply()
    assert list(path.parent.iterdir()) == []


def test_installing_twice_changes_nothing(path: Path) -> None:
    plan_install(path).apply()
    again = plan_install(path)
    assert not again.is_needed
    assert again.diff == ""
    again.apply()
    plan_undo(path).apply()
    assert not path.exists()


def put_as_older_devflow(path: Path, before: str, after: str) -> None:
    """Write the file and the copy for its undo, in their form of before."""
    put(path, after)
    name = sha256(str(path).encode()).hexdigest()
    copy = {
        "installed_sha256": sha256(after.encode()).hexdigest(),
        "before_base64": b64encode(before.encode()).decode(),
    }
    folder = data_dir_of(path) / "before-integrate"
    folder.mkdir(parents=True, mode=0o700)
    (folder / f"{name}.json").write_text(json.dumps(copy))


def test_what_an_older_devflow_wrote_is_undone_to_the_byte_with_and_without_an_upgrade(
    tmp_path: Path,
) -> None:
    for number, is_upgraded in enumerate((False, True)):
        file = tmp_path / str(number) / "settings.json"
        put_as_older_devflow(file, OTHERS, OLD)
        if is_upgraded:
            plan_install(file, command="/opt/bin/devflow").apply()
        plan_undo(file).apply()
        assert file.read_text() == OTHERS


def test_an_upgrade_replaces_the_commands_and_leaves_what_stands_around_them(path: Path) -> None:
    put(path, OLD)
    plan_install(path, command="'/a b/devflow'").apply()
    settings = json.loads(path.read_text())
    (group,) = settings["hooks"]["Stop"]
    assert [one["command"] for one in group["hooks"]] == [
        "say done",
        f"'/a b/devflow' hook{GUARD}",
    ]
    assert {event: len(groups) for event, groups in settings["hooks"].items()} == {
        "Stop": 1,
        "SessionEnd": 1,
        "SessionStart": 1,
    }
    assert settings["statusLine"]["padding"] == 0
    assert not plan_install(path, command="'/a b/devflow'").is_needed
    # without a copy of before, the file without our entries is what was before
    plan_undo(path).apply()
    others = {"hooks": [{"type": "command", "command": "say done"}]}
    assert json.loads(path.read_text()) == {"model": "opus", "hooks": {"Stop": [others]}}


def test_a_server_under_another_path_is_replaced_and_keeps_its_environment(path: Path) -> None:
    old = {
        "command": "/old/venv/bin/devflow",
        "args": ["mcp"],
        "env": {"DEVFLOW_LOG_LEVEL": "info"},
    }
    put(path, json.dumps({"mcpServers": {"devflow": old}}))
    plan_install(path, features=("mcp",)).apply()
    assert json.loads(path.read_text())["mcpServers"] == {
        "devflow": {**old, "type": "stdio", "command": "devflow"}
    }


def test_a_path_that_claude_code_would_take_for_a_variable_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="for a variable"):
        plan_install(path, command="'/a/${HOME}/devflow'", features=("mcp",))


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_a_shell_reads_the_path_that_was_written_and_it_is_found_again(folder: str) -> None:
    program = f"/{folder}/devflow"
    line = CommandLine(program=shlex.quote(program), subcommand="hook")
    found = read_command_line({"command": line.guarded})
    assert found == line
    assert shlex.split(line.plain) == [program, "hook"]
    assert read_command_line({"command": line.plain}) == line


def test_what_others_changed_since_stays(path: Path) -> None:
    put(path, OTHERS)
    plan_install(path, features=("hooks", "statusline", "mcp")).apply()
    changed = json.loads(path.read_text()) | {"model": "sonnet"}
    path.write_text(json.dumps(changed))
    plan_undo(path).apply()
    assert json.loads(path.read_text()) == json.loads(OTHERS) | {"model": "sonnet"}


def test_installing_after_others_changed_it_keeps_their_change_on_undo(path: Path) -> None:
    put(path, OTHERS)
    plan_install(path).apply()
    path.write_text(path.read_text().replace("opus", "sonnet"))
    plan_install(path, features=("mcp",)).apply()
    plan_undo(path).apply()
    assert json.loads(path.read_text()) == json.loads(OTHERS.replace("opus", "sonnet"))


def test_undoing_what_was_never_installed_changes_nothing(path: Path) -> None:
    put(path, OTHERS)
    assert not plan_undo(path).is_needed
    assert not plan_undo(path.with_name("missing.json")).is_needed


def test_no_link_is_written_through(path: Path, tmp_path: Path) -> None:
    put(path, "{}")
    change = plan_install(path)
    precious = tmp_path / "precious.json"
    precious.write_text("{}")
    path.unlink()
    path.symlink_to(precious)
    for attempt in (change.apply, lambda: plan_install(path), lambda: plan_undo(path)):
        with pytest.raises(ConfigurationError, match=r"is a link to .*precious"):
            attempt()
    assert path.is_symlink()
    assert precious.read_text() == "{}"


def test_a_copy_that_is_damaged_is_named(path: Path) -> None:
    put(path, "{}")
    plan_install(path).apply()
    (copy,) = data_dir_of(path).glob("*/*")
    copy.write_text(json.dumps({"before_base64": "a"}))
    with pytest.raises(ConfigurationError, match="is damaged"):
        plan_undo(path)


def test_a_change_that_is_out_of_date_is_refused(path: Path) -> None:
    change = plan_install(path)
    put(path, OTHERS)
    with pytest.raises(ConfigurationError, match="changed since then"):
        change.apply()
    assert path.read_text() == OTHERS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("// comment\n{}", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"hooks": []}', "`hooks` is not an object"),
        ('{"hooks": {"Stop": {}}}', "`hooks.Stop` is not a list"),
        ('{"statusLine": {"type": "command", "command": "mine"}}', r"already has a status line"),
        ('{"mcpServers": []}', "`mcpServers` is not an object"),
        ('{"mcpServers": {"devflow": {"command": "x"}}}', "another MCP server named devflow"),
    ],
)
def test_what_cannot_be_changed_safely_is_left_alone(path: Path, text: str, words: str) -> None:
    put(path, text)
    with pytest.raises(ConfigurationError, match=words):
        plan_install(path, features=("hooks", "statusline", "mcp"))
    assert path.read_text() == text


def test_a_path_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        plan_install(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be"):
        plan_install(tmp_path / "file" / "settings.json").apply()
