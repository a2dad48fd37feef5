"""The records of decisions are numbered, listed, of one form, and found where they are named."""

import re
import subprocess
from pathlib import Path

from house.code_map import ROOT

RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
INDEX = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
PARTS = (
    ["Context", "Decision", "Not chosen", "Cost"],
    ["Context", "Decision", "Measured", "Not chosen", "Cost"],
)
MENTION = re.compile(r"\bADRs? (\d+)|adr/(\d{4})([\w-]*)")
"""A record by its number, or by its file."""


def test_the_numbers_have_no_holes() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


def test_the_index_lists_each_with_its_title_what_was_decided_and_whether_it_holds() -> None:
    listed = re.findall(r"^\| (\d+) \| \[(.+?)\]\((\S+)\) \| \S.+ \| (\S.*) \|$", INDEX, re.M)
    assert [(number, title, name) for number, title, name, _ in listed] == [
        (str(int(path.name[:4])), _title(path), path.name) for path in RECORDS
    ]
    assert {status for *_, status in listed} <= {"holds"} | {
        f"replaced by {int(path.name[:4])}" for path in RECORDS
    }


def test_all_have_one_form() -> None:
    for path in RECORDS:
        headings = re.findall(r"^(#+) (.+)$", path.read_text(encoding="utf-8"), re.M)
        assert headings[0] == ("#", f"{int(path.name[:4])}. {_title(path)}"), path.name
        assert [text for level, text in headings if level == "##"] in PARTS, path.name


def test_whoever_is_named_is_there() -> None:
    names = {path.name[:4]: path.stem for path in RECORDS}
    missing = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _texts()
        for match in MENTION.finditer(path.read_text(encoding="utf-8"))
        if not _leads_somewhere(match, names)
    ]
    assert missing == []


def _leads_somewhere(match: re.Match[str], names: dict[str, str]) -> bool:
    number, file_number, slug = match.groups()
    if number is not None:
        return f"{int(number):04}" in names
    return names.get(file_number) == f"{file_number}{slug}"


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.partition(". ")[2]


def _texts() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md", "*.toml", "*.yaml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in files if path.is_file() and path != Path(__file__)]
