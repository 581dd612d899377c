"""The pinned packages, where two of them meet."""

from __future__ import annotations

from importlib.metadata import version


def test_the_two_packages_of_spark_are_of_one_version() -> None:
    """Each owns files of the other: of two versions, whichever is unpacked last would decide what runs
    (``findings/pyspark-client-overwrites-pyspark.sh``)."""
    assert version("pyspark-client") == version("pyspark")
