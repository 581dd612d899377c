"""Try mutants of guarding code against the unit tests: ``python -m tests.mutants [--since REF | --all] [MODULE ...]``.

Of the functions with a line changed since the ref; with ``--all`` of every function. Ends with 0 when each mutant that
survives is in survivors.toml, else with 1 and the entries that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.layout import BUILD, REPOSITORY
from tests.mutants.changes import base, changed_functions
from tests.mutants.guards import GUARDS, file_of
from tests.mutants.survivors import LIST, Mutant, function_of, mutant_of, pattern_of, read_list, unlisted

FOLDER = BUILD / "mutants"
"""mutmut names a mutant by its path, which has to be what is imported: so the packages stand side by side here."""

ONLY_TEXT = r"""^\s*f?["'][^"']*["'][,)]*$"""
"""Lines that are nothing but a text: a message for people, or SQL, which only its database can judge."""

NO_TEST_AT_ALL = "could not find any test case for any mutant"
"""What mutmut says, and ends as if it had failed, where the tests run none of the functions."""

LOG = BUILD / "logs" / "mutants.log"
PACKAGES = {"etar": "plugins/etar", **{name: name for name in ("connect", "producer", "stack")}}
UNNOTICED = {"survived", "no tests", "suspicious", "not checked", "check was interrupted by user", "segfault"}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parsed(arguments)
    modules = {module: GUARDS[module] for module in options.modules or GUARDS}
    patterns = _patterns(modules, None if options.all else base(REPOSITORY, options.since))
    if not patterns:
        print("no function that guards the account has changed: nothing to try (--all for every one)")
        return 0
    _copy(patterns, modules)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        asked = [] if options.all else [pattern for those in patterns.values() for pattern in those]
        ended = _mutmut("run", "--max-children", str(options.processes), *asked, stdout=log, stderr=log)
    untested = ended.returncode != 0 and NO_TEST_AT_ALL in LOG.read_text()
    if ended.returncode and not untested:
        print(f"mutmut ended with {ended.returncode}; see {LOG}", file=sys.stderr)
        return 2
    statuses = _statuses(patterns)
    if untested:
        statuses = dict.fromkeys(statuses, "no tests")
    _print_score(statuses)
    missing = unlisted(_survivors(statuses), read_list())
    if missing:
        print(f"\nNoticed by no test, and not in {LIST.relative_to(REPOSITORY)}:")
        print(*(f"\n{mutant}\nwhy = ''" for mutant in missing), sep="\n")
    return 1 if missing else 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(GUARDS)}; all unless given")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--since", metavar="REF", help="a git ref; origin/main, or the commit before where that is HEAD")
    which.add_argument("--all", action="store_true", help="every function, changed or not")
    parser.add_argument("--processes", type=int, default=1, metavar="COUNT", help="mutants tried at once (1)")
    options = parser.parse_args(arguments)
    if unknown := set(options.modules) - GUARDS.keys():
        parser.error(f"not a module that guards the account: {', '.join(sorted(unknown))}")
    return options


def _patterns(modules: Mapping[str, str], since: str | None) -> dict[str, list[str]]:
    """mutmut's names of what is to be tried, by module."""
    found = {}
    for module in modules:
        if since is None:
            found[module] = [f"{module}.x*"]
        elif changed := changed_functions(source_of(module), since):
            found[module] = [pattern_of(module, function) for function in changed]
    return found


def source_of(module: str) -> Path:
    package, _, rest = file_of(module).partition("/")
    return REPOSITORY / PACKAGES[package] / rest


def _copy(patterns: Mapping[str, list[str]], modules: Mapping[str, str]) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, folder in {**PACKAGES, "tests": "tests", "sql": "sql", "streams": "streams"}.items():
        shutil.copytree(REPOSITORY / folder, FOLDER / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": list(PACKAGES),
        "only_mutate": [file_of(module) for module in patterns],
        "also_copy": ["sql", "streams"],
        "do_not_mutate_patterns": [ONLY_TEXT],
        "pytest_add_cli_args": ["--order=written", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": sorted({modules[module] for module in patterns}),
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    text = (REPOSITORY / "pyproject.toml").read_text()
    (FOLDER / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n" + "\n".join(lines) + "\n")


def _mutmut(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, cwd=FOLDER, env=environment, check=False, text=True, **streams)  # type: ignore[call-overload]


def _statuses(patterns: Mapping[str, list[str]]) -> dict[str, str]:
    """How each mutant that was asked for came off, by mutmut's name."""
    said = _mutmut("results", "--all", "true", stdout=subprocess.PIPE).stdout
    functions = tuple(pattern.removesuffix("*") for those in patterns.values() for pattern in those)
    found = (line.strip().rpartition(": ") for line in said.splitlines())
    return {name: status for name, _, status in found if name.startswith(functions)}


def _print_score(statuses: Mapping[str, str]) -> None:
    tried, noticed, untested = Counter[str](), Counter[str](), Counter[str]()
    for name, status in statuses.items():
        module = next(module for module in GUARDS if name.startswith(f"{module}.x"))
        tried[module] += status != "no tests"
        untested[module] += status == "no tests"
        noticed[module] += status not in UNNOTICED
    for module in GUARDS:
        if tried[module] or untested[module]:
            beside = f"; {untested[module]} more in functions that no unit test runs" if untested[module] else ""
            print(f"{module}: {noticed[module]} of {tried[module]} noticed{beside}")


def _survivors(statuses: Mapping[str, str]) -> list[Mutant]:
    untested = dict.fromkeys(function_of(name) for name, status in statuses.items() if status == "no tests")
    survived = [name for name, status in statuses.items() if status in UNNOTICED - {"no tests"}]
    diffs = (_mutmut("show", name, stdout=subprocess.PIPE).stdout for name in survived)
    return [Mutant(function) for function in untested] + list(map(mutant_of, survived, diffs))


if __name__ == "__main__":
    sys.exit(main())
