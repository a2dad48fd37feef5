"""Every command and program of the first pages runs from the wheels alone, in an empty home."""

import re
import subprocess
from pathlib import Path

import pytest
from integration import page_blocks
from integration.page_blocks import ROOT, blocks_of, commands_of
from newcomer.person import PATIENCE_S, Newcomer, uv

PAGES = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("tutorial", "how-to", "costs", "python", "service")
    ),
]
NOT_HERE = {
    "git clone ": "it needs the repository's address",
    "make install": "it is for a checkout; here the wheels are installed",
    "make demo": "it is for a checkout, whose recorded session it reads; see the test of `demo`",
    "export OPENROUTER_API_KEY=": "it needs a real key; the stand-in's is set",
    "devflow claude": "it needs the real Claude Code; `make test-clients` has it",
}
"""Commands that cannot run in this walk, by how they begin, and the reason."""
GOES_ON = ("devflow sandbox", "devflow sandbox --fault U12-date", "devflow serve")
"""Commands that go on until Ctrl-C, and say so when they are ready."""
ENTRY = re.compile(r"req_\w+")


def plain(line: str) -> str:
    """Return a command without its comment, and without uv: both ways of typing it are the same."""
    return line.partition(" #")[0].strip().removeprefix("uv run ")


def reason_not_to(line: str) -> str | None:
    return next((why for start, why in NOT_HERE.items() if line.startswith(start)), None)


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_COMMANDS = [page for page in PAGES if commands_of(page)]
WITH_PROGRAMS = [page for page in PAGES if blocks_of(page, "python")]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=_id)
def test_the_commands_of_a_page_run_in_order(page: Path, newcomer: Newcomer) -> None:
    (newcomer.home / "key.txt").write_text(newcomer.upstream["OPENROUTER_API_KEY"])
    entry = "req_none"
    for line in commands_of(page):
        if reason_not_to(plain(line)):
            continue
        if plain(line) in GOES_ON:
            with newcomer.running(plain(line)):
                continue
        done = newcomer.type(line.replace("req_…", entry))
        told = f"{line}\n{done.out}{done.err}"
        assert done.status == 0, told
        assert "Traceback" not in done.err, told
        assert done.out or done.err, told
        entry = next(iter(ENTRY.findall(done.err)), entry)


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=_id)
def test_the_programs_of_a_page_run_in_order(
    page: Path, newcomer: Newcomer, tmp_path: Path
) -> None:
    needed = tmp_path / "needed"
    if "import pytest" in page.read_text(encoding="utf-8"):
        # a page about tests is for people who have it; nothing else may lean on it
        install = [uv(), "pip", "install", "--quiet", "--target", str(needed), "pytest"]
        subprocess.run(install, check=True, timeout=PATIENCE_S)
    python = str(newcomer.programs / "python")
    program = str(Path(page_blocks.__file__))
    done = newcomer.run(python, "-P", program, str(page), PYTHONPATH=str(needed))
    assert done.status == 0, done.err
    assert done.out


def test_what_the_walk_leaves_out_is_on_a_page() -> None:
    lines = [plain(line) for page in WITH_COMMANDS for line in commands_of(page)]
    for start in (*NOT_HERE, *GOES_ON):
        assert any(line.startswith(start) for line in lines), f"no page says `{start}` any more"


def test_nothing_comes_from_the_checkout(stranger: Newcomer) -> None:
    program = "import devflow_gateway, devflow_cli, sys; print(devflow_gateway.__file__, *sys.path)"
    done = stranger.run(str(stranger.programs / "python"), "-c", program)
    assert done.status == 0, done.err
    assert str(ROOT) not in done.out


def test_the_demo_continues_a_transcript_without_a_key(
    newcomer: Newcomer, stranger: Newcomer
) -> None:
    transcript = next(newcomer.home.glob(".claude/projects/*/*.jsonl"))
    done = stranger.run("devflow", "demo", "--session", str(transcript))
    assert done.status == 0, done.err
    assert "report.html" in done.out
