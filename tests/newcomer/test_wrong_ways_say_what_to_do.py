"""What a newcomer gets wrong ends with its documented exit status and one line that helps."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from newcomer.person import PATIENCE_S, Newcomer

FAILED, USAGE, CONFIGURATION, BUDGET, UPSTREAM = 1, 2, 3, 4, 5
NO_KEY = {"OPENROUTER_API_KEY": ""}
WRONG_KEY = {"OPENROUTER_API_KEY": "sk-or-v1-wrong"}
NOBODY = {"OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1"}


@dataclass(frozen=True)
class Wrong:
    """A mistake: a line as it is typed, how it has to end, and words of the line that helps."""

    line: str
    status: int
    says: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


WRONG = [
    # no key, a wrong one, a wrong address
    Wrong("devflow ask hi", CONFIGURATION, "Run `devflow init`", NO_KEY),
    Wrong("devflow handoff", CONFIGURATION, "Run `devflow init`", NO_KEY),
    Wrong("devflow serve", CONFIGURATION, "Run `devflow init`", NO_KEY),
    Wrong("devflow keys status", CONFIGURATION, "Run `devflow init`", NO_KEY),
    Wrong("devflow ledger reconcile", CONFIGURATION, "Run `devflow init`", NO_KEY),
    Wrong("devflow init", CONFIGURATION, "devflow init --key-stdin < FILE", NO_KEY),
    Wrong("devflow init --key-stdin --yes", CONFIGURATION, "That is not a key: it is empty"),
    Wrong("devflow ask hi", UPSTREAM, "devflow init --new-key", WRONG_KEY),
    Wrong("devflow init", UPSTREAM, "Use another key", WRONG_KEY),
    Wrong("devflow ledger reconcile", UPSTREAM, "Use another key", WRONG_KEY),
    Wrong("devflow ask hi", UPSTREAM, "Check the network and the base URL", NOBODY),
    Wrong("devflow ask hi", CONFIGURATION, "http://", {"OPENROUTER_BASE_URL": "nonsense"}),
    # mistyped commands, options, values
    Wrong("devflow aks hi", USAGE, "Did you mean 'ask'?"),
    Wrong("devflow ask", USAGE, "Missing argument 'prompt'"),
    Wrong("devflow ask hi --modle acme/none", USAGE, "--model"),
    Wrong("devflow ask hi --max-cost five", USAGE, "not an amount in USD"),
    Wrong("devflow explain hi --cost-priority 3", USAGE, "less than or equal to 1"),
    Wrong("devflow report --by colour", USAGE, "model, provider, task"),
    Wrong('devflow report --since "last munth"', USAGE, "Allowed: a day"),
    Wrong("devflow report --format docx", USAGE, "'html'"),
    Wrong("devflow costs yearly", USAGE, "'monthly'"),
    Wrong("devflow costs --timezone Mars", USAGE, "Europe/Berlin"),
    Wrong("devflow budget set --limit 5 --scope galaxy", USAGE, "global, model"),
    Wrong("devflow sandbox --port 70000", USAGE, "65535"),
    Wrong("devflow sandbox --fault nothing", CONFIGURATION, "--list-faults"),
    Wrong("devflow serve --port 99999", CONFIGURATION, "65535"),
    # names that nothing has
    Wrong("devflow ask hi --model acme/none", FAILED, "`devflow models list`"),
    Wrong("devflow models show deepseek/deepseek-v3.3", FAILED, "deepseek/deepseek-v3.2"),
    Wrong("devflow sessions show zzz", FAILED, "`devflow sessions list`"),
    Wrong("devflow ask hi --session zzz", FAILED, "`devflow sessions list`"),
    Wrong("devflow handoff", FAILED, "Start Claude Code there once"),
    Wrong("devflow explain req_zzz", FAILED, "`devflow ledger export`"),
    Wrong("devflow budget remove nothing", FAILED, "`devflow budget list`"),
    Wrong("devflow keys revoke nobody", FAILED, "`devflow keys list`"),
    Wrong("devflow claude", CONFIGURATION, "npm install -g"),
    # folders and files that are not there, or are something else
    Wrong("devflow report --data-dir nowhere", FAILED, "Is --data-dir the folder"),
    Wrong("devflow ledger verify --data-dir nowhere", FAILED, "--data-dir names another"),
    Wrong("devflow ask hi --data-dir a-file/here", CONFIGURATION, "Not a directory"),
    Wrong("devflow budget set --limit 5 --data-dir /proc/none", FAILED, "name another one"),
    Wrong("devflow serve --data-dir a-file", FAILED, "name another one"),
    Wrong("devflow ask hi --config nowhere.toml", CONFIGURATION, "nowhere.toml cannot be read"),
    Wrong("devflow trust nowhere", USAGE, "is not a folder"),
    Wrong("devflow ledger restore nowhere", FAILED, "There is no ledger at"),
    Wrong("devflow demo --session nowhere", FAILED, "nowhere: cannot be read"),
    # what may not be spent
    Wrong("devflow ask hi --max-cost 0.00000001", BUDGET, "raise the limit"),
]


def helping_line(err: str) -> str:
    """Return the one line on stderr that says what is wrong."""
    found = [line for line in err.splitlines() if line.startswith(("devflow: ", "Error: "))]
    assert len(found) == 1, err
    return found[0]


@pytest.fixture(scope="module")
def mistaken(
    programs: Path, upstream: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Newcomer:
    """Somebody who has asked one question, and from then on makes every mistake."""
    person = Newcomer(tmp_path_factory.mktemp("mistaken"), programs, upstream)
    (person.home / "a-file").touch()
    assert person.type("devflow ask Hello").status == 0
    return person


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.line}-{wrong.status}")
def test_a_mistake_ends_with_its_status_and_a_line_that_helps(
    wrong: Wrong, mistaken: Newcomer
) -> None:
    done = mistaken.type(wrong.line, **wrong.environment)
    assert done.status == wrong.status, done.err
    assert "Traceback" not in done.err
    assert "[Errno" not in done.err
    assert wrong.says in helping_line(done.err)


def test_a_port_in_use_is_named(newcomer: Newcomer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("serve", "sandbox"):
            done = newcomer.type(f"devflow {command} --port {port}")
            assert done.status in (FAILED, CONFIGURATION), done.err
            assert "Traceback" not in done.err
            assert str(port) in helping_line(done.err)


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_change_that_is_not_agreed_to_is_not_made(answer: str, stranger: Newcomer) -> None:
    done = stranger.run("devflow", "integrate", stdin=answer)
    assert done.status == FAILED
    assert "Traceback" not in done.err
    assert not list(stranger.home.glob(".claude/*"))


@pytest.fixture
def address(newcomer: Newcomer) -> Iterator[str]:
    """The address of `devflow serve`."""
    with newcomer.running("devflow serve") as said:
        yield said.partition("serves at ")[2].split()[0]


def _ask(url: str, model: str, key: str | None) -> tuple[int, str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:  # noqa: S310
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())["error"]["message"]


def test_a_client_of_the_server_is_told_what_is_wrong(newcomer: Newcomer, address: str) -> None:
    key = newcomer.run("devflow", "keys", "create", "ci", "--json").out
    good = json.loads(key)["key"]
    for wrong, says in ((None, "key"), ("devflow_wrong", "key")):
        status, message = _ask(address, "auto", wrong)
        assert (status, says in message) == (401, True), message
    status, message = _ask(address, "acme/none", good)
    assert status in (400, 404), message
    assert "acme/none" in message
    assert _ask(address, "auto", good)[0] == 200


@pytest.mark.parametrize(
    ("program", "says", "environment"),
    [
        ("async with AsyncGateway.from_env() as gateway:\n    pass", "Run `devflow init`", NO_KEY),
        ("await AsyncGateway.from_env().complete(ASK)", "async with", WRONG_KEY),
    ],
    ids=["no key", "not entered"],
)
def test_a_program_is_told_what_to_do(
    program: str, says: str, environment: dict[str, str], stranger: Newcomer, tmp_path: Path
) -> None:
    page = tmp_path / "page.py"
    body = "\n".join(f"    {line}" for line in program.splitlines())
    page.write_text(
        "import asyncio\n"
        "from devflow_gateway import AsyncGateway, ChatRequest, DevFlowError\n"
        "ASK = ChatRequest.from_text('Hi')\n"
        f"async def main() -> None:\n{body}\n"
        "try:\n    asyncio.run(main())\n"
        "except DevFlowError as error:\n    print(error.message)\n"
    )
    done = stranger.run(str(stranger.programs / "python"), str(page), **environment)
    assert done.status == 0, done.err
    assert says in done.out
