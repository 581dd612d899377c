"""How the stack's Java programs start: with one fast compiler, and with their classes mapped from a file.

Such a program loads some ten thousand classes before it does anything. `stack/setup.sh` runs each once and lets Java
write its classes, as they lie in memory, into a file (``stack/class_archives.py``); later starts map it. Java goes on
without a file that does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.layout import BUILD

STARTS_FAST = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For a JVM that shares two cores with all others: what the second compiler takes is never paid back in its hours."""


@dataclass(frozen=True)
class ClassArchive:
    """The file with one program's classes, and the options of Java that read it and that write it at the exit."""

    file: Path
    read_option: str = "-XX:SharedArchiveFile"
    write_option: str = "-XX:ArchiveClassesAtExit"

    @property
    def draft(self) -> Path:
        return self.file.with_suffix(f".draft{self.file.suffix}")

    def reading(self) -> tuple[str, ...]:
        """Nothing where nobody has made the file."""
        return (f"{self.read_option}={self.file}",) if self.file.exists() else ()

    def writing(self) -> str:
        return f"{self.write_option}={self.draft}"


def _archive(name: str, *options: str) -> ClassArchive:
    return ClassArchive(BUILD / "class-archives" / name, *options)


SPARK_DRIVER = _archive("spark-driver.jsa")
KAFKA = _archive("kafka.jsa")
CONNECT = _archive("connect.jsa")
# Its Java is 25, whose archives hold linked classes and profiles of methods as well.
REGISTRY = _archive("registry.aot", "-XX:AOTCache", "-XX:AOTCacheOutput")
