from __future__ import annotations

import subprocess
import sys

from etar.processor_time import SharedTime, processor_seconds

_BUSY = "import time\nwhile time.process_time() < 0.3: pass"


def test_what_a_process_that_was_waited_for_took_is_ours() -> None:
    before = processor_seconds()
    subprocess.run([sys.executable, "-c", _BUSY], check=True)
    assert processor_seconds() - before >= 0.29


def test_time_is_divided_among_those_at_work() -> None:
    has_had = 5.0
    processor = SharedTime(lambda: has_had)
    with processor.shared() as long:
        has_had = 6.0
        with processor.shared() as short:
            has_had = 10.0
        has_had = 13.0
    has_had = 20.0  # nobody's
    with processor.shared() as later:
        has_had = 21.0
    assert (long.seconds, short.seconds, later.seconds) == (1 + 2 + 3, 2, 1)


def test_a_process_that_ended_takes_no_time_back() -> None:
    has_had = 5.0
    processor = SharedTime(lambda: has_had)
    with processor.shared() as share:
        has_had = 4.0
    assert share.seconds == 0
