"""The class archives that the set-up made are the ones that the parts' Java takes."""

from __future__ import annotations

import subprocess

import pytest

from stack.jvm import CONNECT, KAFKA, REGISTRY, ClassArchive
from stack.parts import Part, Stack, connect, kafka, registry


@pytest.mark.parametrize(
    ("part", "archive", "or_fail"),
    [
        (kafka.BROKERS[0], KAFKA, "-Xshare:on"),
        (connect.workers(())[0], CONNECT, "-Xshare:on"),
        (registry.REGISTRY, REGISTRY, "-XX:AOTMode=on"),
    ],
    ids=lambda given: given.name if isinstance(given, Part) else "",
)
def test_java_takes_the_archive_with_the_parts_own_command(
    own_stack: Stack, part: Part, archive: ClassArchive, or_fail: str
) -> None:
    java, *options = part.command(own_stack)
    assert f"{archive.read_option}={archive.file}" in options
    jars = options.index("-jar" if "-jar" in options else "-cp")
    # Java says its version instead of starting the program, and fails if it cannot use the archive.
    asked = [java, or_fail, *options[:jars], "-cp", options[jars + 1], "-version"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Runtime Environment" in done.stderr
