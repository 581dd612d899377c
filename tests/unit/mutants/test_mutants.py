"""What `make test-mutants` tries, and the list of what may survive."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack.layout import REPOSITORY
from tests.mutants import __main__ as mutants
from tests.mutants.__main__ import NO_TEST_AT_ALL, source_of
from tests.mutants.changes import base, changed_functions, changed_lines, function_spans
from tests.mutants.guards import GUARDS
from tests.mutants.survivors import Listed, Mutant, function_of, mutant_of, pattern_of, read_list, unlisted

SOURCE = '''"""A module."""

TOP = 1


def first():
    return 1


class Two:
    def method(self):
        def inner():
            return 2
        return inner

    async def other(self):
        return 3
'''


def test_every_guard_and_its_tests_are_there() -> None:
    assert [module for module in GUARDS if not source_of(module).is_file()] == []
    assert [folder for folder in GUARDS.values() if not (REPOSITORY / folder).is_dir()] == []


@pytest.mark.parametrize("listed", read_list(), ids=lambda listed: listed.mutant.function)
def test_what_may_survive_is_of_a_function_that_is_there_and_has_a_reason(listed: Listed) -> None:
    module = next(module for module in GUARDS if listed.mutant.function.startswith(f"{module}."))
    function = listed.mutant.function.removeprefix(f"{module}.")
    assert function in function_spans(source_of(module).read_text())
    assert listed.why


@pytest.mark.parametrize(("said", "result"), [(f"Stopping early, because we {NO_TEST_AT_ALL}.", 0), ("no disk", 2)])
def test_a_module_whose_functions_no_unit_test_runs_has_no_survivor_but_those_that_are_listed(
    said: str, result: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mutmut(command: str, *_: str, **streams: Any) -> subprocess.CompletedProcess[str]:
        if command == "run":
            streams["stdout"].write(said.encode())
            return subprocess.CompletedProcess(command, 1)
        results = "".join(f"    etar.audit.reopening.x_reopen__mutmut_{number}: not checked\n" for number in (1, 2))
        return subprocess.CompletedProcess(command, 0, results)

    monkeypatch.setattr(mutants, "_mutmut", mutmut)
    monkeypatch.setattr(mutants, "_copy", lambda *_: None)
    monkeypatch.setattr(mutants, "LOG", tmp_path / "mutants.log")
    assert mutants.main(["--all", "etar.audit.reopening"]) == result
    if result == 0:
        assert "0 of 0 noticed; 2 more in functions that no unit test runs" in capsys.readouterr().out


def test_functions_are_found_by_their_lines() -> None:
    assert function_spans(SOURCE) == {"first": range(6, 8), "Two.method": range(11, 15), "Two.other": range(16, 18)}


@pytest.mark.parametrize(
    ("hunk", "lines"),
    [("@@ -3 +3 @@", {3}), ("@@ -3,2 +5,3 @@ def f():", {5, 6, 7}), ("@@ -3,2 +4,0 @@", {4}), ("no hunk", set())],
)
def test_lines_are_those_of_the_new_file(hunk: str, lines: set[int]) -> None:
    assert changed_lines(f"--- a\n+++ b\n{hunk}\n") == lines


def test_what_changed_since_a_ref_is_told_by_function(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        author = ("-c", "user.name=t", "-c", "user.email=t@example")
        subprocess.run(["git", "-C", str(tmp_path), *author, *arguments], check=True, capture_output=True)

    file = tmp_path / "module.py"
    file.write_text(SOURCE)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    assert changed_functions(file, "HEAD") == []
    file.write_text(SOURCE.replace("return 2", "return 4").replace("TOP = 1", "TOP = 2"))
    assert changed_functions(file, "HEAD") == ["Two.method"]
    git("commit", "--quiet", "--all", "--message", "two")
    assert changed_functions(file, base(tmp_path, "HEAD~1")) == ["Two.method"]
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert base(tmp_path, None) == "HEAD~1"


@pytest.mark.parametrize(
    ("name", "function"),
    [("a.b.x_first__mutmut_12", "a.b.first"), ("a.b.xǁTwoǁ_method__mutmut_1", "a.b.Two._method")],
)
def test_a_mutants_function_is_told_from_its_name_and_the_other_way_round(name: str, function: str) -> None:
    assert function_of(name) == function
    assert pattern_of("a.b", function.removeprefix("a.b.")) == name.rstrip("0123456789") + "*"


def test_a_mutant_is_known_by_what_it_changes_and_not_by_its_number() -> None:
    diff = "--- a/b.py\n+++ a/b.py\n@@ -1,2 +1,2 @@\n def first():\n-    return 1\n+    return 2\n"
    mutant = Mutant("a.b.first", was="return 1", becomes="return 2")
    assert mutant_of("a.b.x_first__mutmut_3", diff) == mutant
    assert unlisted([mutant, Mutant("a.b.first")], [Listed(mutant, "no one sees it")]) == [Mutant("a.b.first")]
