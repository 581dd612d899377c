"""The build that figures are compared with: a commit in a worktree beside, with the environment of its own set-up."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.measure import BEFORE
from stack.layout import BUILD, REPOSITORY


def checkout(commit: str = BEFORE) -> Path:
    """The worktree of a commit; its first call takes minutes, for all that ``make setup-dev`` fetches and builds.

    Raises:
        subprocess.CalledProcessError: git does not know the commit, or its set-up failed.
    """
    folder = BUILD / "bench" / commit
    if not folder.exists():
        print(f"making the build of {commit} in {folder}", flush=True)
        subprocess.run(["git", "worktree", "prune"], cwd=REPOSITORY, check=True)
        subprocess.run(["git", "worktree", "add", "--detach", str(folder), commit], cwd=REPOSITORY, check=True)
    subprocess.run(["make", "--silent", "setup-dev"], cwd=folder, check=True)
    return folder
