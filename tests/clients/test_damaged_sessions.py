"""What real Claude Code reads of a damaged session is handed over by DevFlow too, in order."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients.pinned import NEWEST, VERSIONS
from devflow_claude_code.handoff.call_ids import make_safe_name
from devflow_claude_code.reading.paths import project_slug
from devflow_claude_code.testing import TranscriptScript
from devflow_cli.testing import run_command

if TYPE_CHECKING:
    from conftest import ClaudeCode, ScriptedApi

FAULTY = Path(__file__).parents[2] / "packages/adapters/claude_code/tests/samples/faulty"
SESSION_ID = "11111111-2222-4333-8444-555555555555"
QUESTION = "And now?"
CLIENTS = (NEWEST, "2.1.197")
HANGS = {("null_model", "2.1.197")}
"""This client waits for ever on a reply that names no model."""
FULL = {"absurd_tokens", "fast", "float_tokens"}
"""By what they say of their tokens the client would compact before it answers."""
FILLERS = (
    "No response requested.",
    "Continue from where you left off.",
    "<system-reminder",
    "Scripted answer.",
)
"""What the clients add of their own."""

Damage = Callable[[list[bytes]], bytes]


def joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def with_line(change: Callable[[bytes], bytes]) -> Damage:
    """Line 5 (a question) is changed."""
    return lambda lines: joined([*lines[:4], change(lines[4]), *lines[5:]])


DAMAGES: dict[str, Damage] = {
    "bom": lambda lines: b"\xef\xbb\xbf" + joined(lines),
    "bom-within": with_line(lambda line: b"\xef\xbb\xbf" + line),
    "zeros-before": with_line(lambda line: bytes(300) + line),
    "zeros-after": with_line(lambda line: line + bytes(300)),
    "zeros-instead": with_line(lambda line: bytes(len(line))),
    "cut": with_line(lambda line: line[:90]),
    "head-cut": with_line(lambda line: line[90:]),
    "not-utf8": with_line(lambda line: line.replace(b"question", b"que\xff\xfestion")),
    "half-a-pair": with_line(lambda line: line.replace(b"question", b"que\\ud83d stion")),
    "crlf": lambda lines: b"\r\n".join(lines) + b"\r\n",
    "first-missing": lambda lines: joined(lines[1:]),
    "call-missing": lambda lines: joined([*lines[:1], *lines[2:]]),
    "result-missing": lambda lines: joined([*lines[:2], *lines[3:]]),
    "end-cut": lambda lines: joined(lines)[:-25],
    "glued": lambda lines: joined([*lines[:4], lines[4] + lines[5], *lines[6:]]),
    "glued-to-a-cut-one": lambda lines: joined([*lines[:4], lines[4][:150] + lines[5], *lines[6:]]),
    "garbage-after": with_line(lambda line: line + b" garbage"),
}


def made(name: str) -> bytes:
    """A session of some turns, damaged."""
    script = TranscriptScript()
    script.prompt("The first question")
    script.call("Bash", {"command": "ls"}, "README.md")
    script.say("The first answer.")
    for number in range(2, 5):
        script.prompt(f"A further question {number}")
        script.say(f"A further answer {number}.")
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in script.rows]
    return DAMAGES[name](lines)


def sample(name: str) -> bytes:
    """The last file of a folder: of a fork the one with the copied history."""
    content = max((FAULTY / name).glob("*.jsonl")).read_bytes()
    if name not in FULL:
        return content
    rows = [json.loads(line) for line in content.splitlines()]
    for row in rows:
        row["message"].pop("usage", None)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put(content: bytes, claude_code: "ClaudeCode") -> Path:
    """The session as if it had happened in this home."""
    folder = claude_code.config_dir / "projects" / project_slug(claude_code.project)
    folder.mkdir(parents=True)
    path = folder / f"{SESSION_ID}.jsonl"
    for place in (b"/home/u/shop", b"/home/dev/demo"):
        content = content.replace(place, str(claude_code.project).encode())
    path.write_bytes(content)
    return path


def hand_over(
    path: Path, claude_code: "ClaudeCode", api: "ScriptedApi", *options: str
) -> dict[str, Any]:
    """Run `devflow handoff` as a person would; its JSON."""
    done = run_command(
        *("handoff", str(path), "--to", "z-ai/glm-5", "--json", "--prompt", QUESTION, *options),
        folder=claude_code.project,
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(claude_code.home),
            "CLAUDE_CONFIG_DIR": str(claude_code.config_dir),
            "OPENROUTER_BASE_URL": f"{api.url}/api/v1",
            "OPENROUTER_API_KEY": "sk-or-v1-of-this-test",
        },
    )
    assert done.status == 0, done.out + done.err
    return done.document


def client_pieces(messages: list[dict[str, Any]]) -> list[str]:
    """Texts and ids of calls and results, as Claude Code has sent them."""
    found: list[str] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks if message["role"] in ("user", "assistant") else []:
            match block["type"]:
                case "text":
                    found.append(block["text"].strip())
                case "tool_use":
                    found.append(f"call {make_safe_name(block['id'])}")
                case "tool_result":
                    found.append(f"result {make_safe_name(block['tool_use_id'])}")
                case _:
                    pass
    return [one for one in found if one != QUESTION and not one.startswith(FILLERS)]


def our_pieces(messages: list[dict[str, Any]]) -> list[str]:
    """The same of a chat completion's messages."""
    found: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            found.append(f"result {message['tool_call_id']}")
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [part["text"].strip() for part in parts if part["type"] == "text"]
        found += [f"call {call['id']}" for call in message.get("tool_calls", ())]
    return found


def missing_in_order(wanted: list[str], found: list[str]) -> list[str]:
    """What of the one is not in the other, looked for from front to back."""
    missing: list[str] = []
    position = 0
    for one in wanted:
        is_id = one.startswith(("call ", "result "))
        places = (
            place
            for place in range(position, len(found))
            if found[place] == one or (not is_id and one in found[place])
        )
        place = next(places, None)
        if place is None:
            missing.append(one)
        else:
            position = place
    return missing


def compare(content: bytes, claude_code: "ClaudeCode", api: "ScriptedApi") -> dict[str, Any]:
    """That what the client sends is in what we send; the report of the hand-off."""
    path = put(content, claude_code)
    report = hand_over(path, claude_code, api)["handoff"]
    assert report["mode"] == "full"
    ours = our_pieces(api.requests.pop()["messages"])
    ended = claude_code.run("-p", QUESTION, "--resume", SESSION_ID)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    asked = [one for one in api.requests if QUESTION in json.dumps(one["messages"][-3:])]
    theirs = client_pieces(asked[-1]["messages"])
    assert theirs
    assert missing_in_order(theirs, ours) == []
    return report


@pytest.mark.parametrize("claude_code", CLIENTS, indirect=True)
@pytest.mark.parametrize("name", DAMAGES)
def test_what_the_client_reads_of_a_damaged_file_is_handed_over(
    name: str, claude_code: "ClaudeCode", api: "ScriptedApi"
) -> None:
    report = compare(made(name), claude_code, api)
    unharmed = name in ("bom", "crlf", "half-a-pair")
    assert (name == "bom" or not report["damage"]) if unharmed else report["damage"]


@pytest.mark.parametrize(
    ("name", "claude_code"),
    [
        (folder.name, version)
        for folder in sorted(FAULTY.iterdir())
        for version in CLIENTS
        if folder.is_dir() and (folder.name, version) not in HANGS
    ],
    indirect=["claude_code"],
)
def test_what_the_client_reads_of_a_rare_session_is_handed_over(
    name: str, claude_code: "ClaudeCode", api: "ScriptedApi"
) -> None:
    compare(sample(name), claude_code, api)


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_a_session_whose_shell_went_elsewhere_comes_back_where_it_began(
    claude_code: "ClaudeCode", api: "ScriptedApi"
) -> None:
    (claude_code.project / "api").mkdir()
    resume = hand_over(put(sample("subdir_cwd"), claude_code), claude_code, api, "--write-back")[
        "resume"
    ]
    assert resume["cwd"] == str(claude_code.project)
    ended = claude_code.run("-p", "And then?", "--resume", resume["session_id"])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert api.was_asked("And then?", "two done", "Scripted answer.")
