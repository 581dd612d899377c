"""Many requests at once: every one is answered, and the engine outlives them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

REQUESTS = 600


@pytest.fixture
def busy_front(start_front):
    front = start_front()
    front.value("CREATE TABLE busy (number UInt64) ENGINE = MergeTree ORDER BY number")
    return front


def test_streams_and_inserts_side_by_side_break_nothing(busy_front):
    """A descriptor that the front closed twice could be the engine's by then: EPOLL_ERROR, and then its death."""

    def one(number: int) -> tuple[int, bytes]:
        if number % 4 == 0:
            answer = busy_front.ask("INSERT INTO busy FORMAT TSV", body=b"%d\n" % number)
        else:
            answer = busy_front.ask("SELECT name, value FROM system.settings FORMAT Native")
        return answer.status, b"" if answer.status == 200 else answer.data

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(one, range(REQUESTS)))
    assert answers == {(200, b"")}
    assert busy_front.value("SELECT count() FROM busy") == str(REQUESTS // 4)
    assert busy_front.process.poll() is None
