"""A folder's repository, branch and commit are read from git's files, without running git."""

from __future__ import annotations

from pathlib import Path

import pytest
from devflow_core.attribution import Attribution
from devflow_core.repository import (
    FolderLabels,
    Repository,
    describe_folder,
    find_repository,
    project_label,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _repository(
    folder: Path, *, head: str = "ref: refs/heads/main\n", commit: str = COMMIT
) -> Path:
    """Create a repository as `git init` and a first commit leave it."""
    git = folder / ".git"
    _write({git / "HEAD": head, git / "refs/heads/main": f"{commit}\n"})
    return folder


def _worktree(main: Path, folder: Path, *, known: bool = True) -> Path:
    """Create a linked worktree as `git worktree add` does; `main` lists it only if `known`."""
    own = main / ".git/worktrees/w"
    _write({
        folder / ".git": f"gitdir: {own}\n",
        own / "HEAD": "ref: refs/heads/feature/x\n",
        own / "commondir": "../..\n",
        main / ".git/refs/heads/feature/x": f"{OTHER}\n",
    })  # fmt: skip
    if known:
        _write({own / "gitdir": f"{folder / '.git'}\n"})
    return folder


def test_a_branch_and_its_commit_are_read_from_any_folder_below(tmp_path: Path) -> None:
    folder = _repository(tmp_path / "project")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    expected = Repository(folder=folder, branch="main", commit=COMMIT)
    assert find_repository(folder) == find_repository(below) == expected
    assert project_label(below) == str(folder)
    assert describe_folder(below) == Attribution(project=str(folder), branch="main", commit=COMMIT)


def test_a_folder_in_no_repository_is_a_project_of_its_own(tmp_path: Path) -> None:
    assert find_repository(tmp_path) is None
    assert project_label(tmp_path) == str(tmp_path)
    assert describe_folder(tmp_path) == Attribution(project=str(tmp_path))


@pytest.mark.parametrize("commit", [COMMIT, "a" * 64])
def test_a_detached_head_is_a_commit_without_a_branch(tmp_path: Path, commit: str) -> None:
    folder = _repository(tmp_path, head=f"{commit}\n")
    assert find_repository(folder) == Repository(folder=folder, commit=commit)


def test_a_packed_branch_is_found_among_others(tmp_path: Path) -> None:
    packed = (
        "# pack-refs with: peeled fully-peeled sorted \n"
        f"{OTHER} refs/heads/main-2\n{COMMIT} refs/heads/main\n"
        f"{OTHER} refs/tags/main\n^{OTHER}\n"
    )
    _write({tmp_path / ".git/HEAD": "ref: refs/heads/main", tmp_path / ".git/packed-refs": packed})
    assert find_repository(tmp_path) == Repository(folder=tmp_path, branch="main", commit=COMMIT)
    _write({tmp_path / ".git/refs/heads/main": OTHER})  # what was committed since is not packed
    assert find_repository(tmp_path) == Repository(folder=tmp_path, branch="main", commit=OTHER)


@pytest.mark.parametrize("packed", [None, "", f"{OTHER} refs/heads/main-2\n", "x refs/heads/main"])
def test_a_branch_without_a_commit(tmp_path: Path, packed: str | None) -> None:
    _write({tmp_path / ".git/HEAD": "ref: refs/heads/main\n"})
    if packed is not None:
        _write({tmp_path / ".git/packed-refs": packed})
    assert find_repository(tmp_path) == Repository(folder=tmp_path, branch="main")


@pytest.mark.parametrize("name", ["../../secret", "a\tb", "a b", "x" * 201, "a:b", ""])
def test_no_branch_leads_out_of_the_repository(tmp_path: Path, name: str) -> None:
    _write({tmp_path / ".git/refs/secret": COMMIT})
    folder = _repository(tmp_path, head=f"ref: refs/heads/{name}")
    assert find_repository(folder) == Repository(folder=folder)


def test_a_repository_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert find_repository(tmp_path) is None
    assert project_label(tmp_path) == str(tmp_path)


def test_a_linked_worktree_belongs_to_the_main_one(tmp_path: Path) -> None:
    main = _repository(tmp_path / "main")
    folder = _worktree(main, tmp_path / "elsewhere")
    expected = Repository(folder=main, branch="feature/x", commit=OTHER)
    assert find_repository(folder) == expected


def test_a_folder_cannot_name_a_repository_that_does_not_know_it(tmp_path: Path) -> None:
    main = _repository(tmp_path / "main")
    stranger = _worktree(main, tmp_path / "stranger", known=False)
    found = find_repository(stranger)
    assert found is not None
    assert found.folder == stranger
    _write({main / ".git/worktrees/w/gitdir": f"{tmp_path / 'other' / '.git'}\n"})
    found = find_repository(stranger)
    assert found is not None
    assert found.folder == stranger


def test_what_lies_outside_a_repositorys_worktrees_is_none_of_them(tmp_path: Path) -> None:
    main = _repository(tmp_path / "main")
    stranger, own = tmp_path / "stranger", tmp_path / "stranger" / "made-up"
    _write({
        stranger / ".git": "gitdir: made-up\n",
        own / "HEAD": "ref: refs/heads/main\n",
        own / "commondir": f"{main / '.git'}\n",
        own / "gitdir": f"{stranger / '.git'}\n",
    })  # fmt: skip
    found = find_repository(stranger)
    assert found is not None
    assert found.folder == stranger


def test_a_submodule_is_a_project_of_its_own(tmp_path: Path) -> None:
    main = _repository(tmp_path / "main")
    _write({
        main / "sub/.git": "gitdir: ../.git/modules/sub\n",
        main / ".git/modules/sub/HEAD": f"{OTHER}\n",
    })  # fmt: skip
    assert find_repository(main / "sub") == Repository(folder=main / "sub", commit=OTHER)


def test_requests_get_what_they_do_not_say_themselves(tmp_path: Path) -> None:
    labels = FolderLabels(_repository(tmp_path))
    project = str(tmp_path)
    whole = Attribution(project=project, branch="main", commit=COMMIT)
    assert labels.apply(Attribution()) == whole
    assert labels.apply(Attribution(project=project)) == whole
    own = Attribution(branch="mine", commit=OTHER)
    assert labels.apply(own) == Attribution(project=project, branch="mine", commit=OTHER)
    elsewhere = Attribution(project="/elsewhere")
    assert labels.apply(elsewhere) == elsewhere


def test_a_new_branch_is_seen_after_a_few_seconds(tmp_path: Path) -> None:
    now_s = [100.0]
    labels = FolderLabels(_repository(tmp_path), monotonic=lambda: now_s[0])
    assert labels.apply(Attribution()).branch == "main"
    _repository(tmp_path, head="ref: refs/heads/next\n")
    now_s[0] += 5
    assert labels.apply(Attribution()).branch == "main"
    now_s[0] += 0.1
    assert labels.apply(Attribution()).branch == "next"
