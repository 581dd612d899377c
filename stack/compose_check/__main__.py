"""``python -m stack.compose_check [FOLDER]``: say what is wrong with the containers, and end with 1 if anything is."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.compose_check.findings import Finding
from stack.compose_check.policy import RULES, check_policy
from stack.compose_check.programs import (
    CheckError,
    lint_compose,
    lint_dockerfiles,
    profiles,
    read_project,
    validate,
)
from stack.layout import REPOSITORY


def check(root: Path) -> list[Finding]:
    """Every finding about the containers of the repository at ``root``.

    Raises:
        CheckError: a program of the checks is missing, or could not read its files.
    """
    refused = validate(root)
    linted = lint_dockerfiles(root)
    try:
        return [*refused, *lint_compose(root), *linted, *check_policy(read_project(root))]
    except CheckError:
        if not refused:
            raise
        return [*refused, *linted]  # why nothing more can be read is among these


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]).resolve() if arguments else REPOSITORY
    try:
        found = check(root)
        named = ", ".join(profile or "default" for profile in profiles(root))
    except CheckError as error:
        print(f"compose-check: {error}", file=sys.stderr)
        return 2
    for finding in found:
        print(finding)
    print(f"{len(found)} findings; profiles {named}; {len(RULES)} rules of ours, compose-lint and hadolint")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
