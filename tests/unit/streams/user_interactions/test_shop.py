"""The made-up traffic: repeatable, in order, and shaped like a shop's."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from etar.rows.blocks import chance_of
from streams.user_interactions.event import EVENT_TYPES
from streams.user_interactions.shop import EventFactory, Shop, Zipf
from tests.unit.producer.drafts import shop
from tests.user_events import UserEvent, user_events

START = 1_763_717_460_000


def events(count: int, *, step: int = 10, **arguments: object) -> list[UserEvent]:
    factory = EventFactory(shop=shop(), **{"seed": 1, "concurrent": 50, **arguments})  # type: ignore[arg-type]
    return user_events(factory.block(START + np.arange(count) * step))


def first(**arguments: Any) -> UserEvent:
    [event] = user_events(EventFactory(**arguments).block(np.array([START])))
    return event


def count_for(share: float) -> int:
    """As many as show a share by chance; none and all show in a few."""
    return 20_000 if 0 < share < 1 else 2000


def test_the_same_seed_and_instants_give_the_same_events() -> None:
    assert events(2000, errors=0.1, late=0.1, late_by=60_000) == events(2000, errors=0.1, late=0.1, late_by=60_000)


@pytest.mark.parametrize("size", [1, 7, 50, 51, 999])
def test_however_many_are_asked_for_at_a_time_they_are_the_same(size: int) -> None:
    arguments: dict[str, Any] = {"seed": 1, "errors": 0.1, "late": 0.1, "late_by": 60_000}
    factory = EventFactory(shop=shop(), concurrent=50, **arguments)
    instants = START + np.arange(2000) * 10
    parts = [user_events(factory.block(instants[at : at + size])) for at in range(0, 2000, size)]
    assert [event for part in parts for event in part] == events(2000, **arguments)


def test_another_shop_object_makes_no_difference() -> None:
    assert first(seed=3, shop=Shop()) == first(seed=3, shop=shop())


@pytest.mark.parametrize("other", [{"seed": 2}, {"worker": 1}])
def test_another_seed_or_worker_gives_other_events(other: dict[str, int]) -> None:
    one, two = ({event.event_id for event in events(1000, **arguments)} for arguments in ({}, other))
    assert len(one) == len(two) == 1000
    assert not one & two


def test_event_ids_follow_from_seed_worker_and_sequence_alone() -> None:
    others = events(100, errors=0.5, step=7, concurrent=33)
    assert [event.event_id for event in events(100)] == [event.event_id for event in others]


def test_seed_and_worker_are_kept_apart() -> None:
    one, other = first(seed=1, worker=11, shop=shop()), first(seed=11, worker=1, shop=shop())
    assert one.event_id != other.event_id
    assert one.session_id != other.session_id


def test_ids_are_uuids_of_chance() -> None:
    assert {(event.event_id.version, event.session_id.version) for event in events(500)} == {(4, 4)}
    assert {event.event_id.variant for event in events(500)} == {"specified in RFC 4122"}


def test_a_step_of_the_funnel_comes_only_after_the_one_before_it_succeeded() -> None:
    before = {"click": "view", "add_to_cart": "click", "checkout": "add_to_cart", "purchase": "checkout"}
    succeeded: dict[object, set[str]] = defaultdict(set)
    reached: Counter[str] = Counter()
    for event in events(20_000, errors=0.2):
        done = succeeded[event.session_id]
        if event.event_type in before:
            assert before[event.event_type] in done
        assert "purchase" not in done, "a visit goes on after its purchase"
        reached[event.event_type] += 1
        if event.status == "success":
            done.add(event.event_type)
    assert reached.keys() == set(EVENT_TYPES)
    funnel = [reached[step] for step in ("view", "click", "add_to_cart", "checkout", "purchase")]
    assert funnel == sorted(funnel, reverse=True)


def test_what_is_paid_is_what_was_put_into_the_cart() -> None:
    carts: Counter[object] = Counter()
    paid = 0
    for event in events(20_000, errors=0.2):
        if event.event_type == "add_to_cart" and event.status == "success":
            assert event.amount is not None
            assert event.amount > 0
            carts[event.session_id] += event.amount
        elif event.event_type in ("checkout", "purchase"):
            assert event.amount == carts[event.session_id]
            paid += 1
        elif event.event_type != "add_to_cart":
            assert event.amount is None
    assert paid > 100


def test_a_visit_has_one_user_and_one_device_and_a_user_one_country() -> None:
    of_visit: dict[object, object] = {}
    of_user: dict[object, str] = {}
    for event in events(5000):
        assert of_visit.setdefault(event.session_id, (event.user_id, event.device)) == (event.user_id, event.device)
        assert of_user.setdefault(event.user_id, event.country) == event.country
    assert len(of_user) < len(of_visit), "no user came back"


def test_only_a_search_has_no_product() -> None:
    assert all((event.product_id is None) == (event.event_type == "search") for event in events(2000))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_errors_have_their_share_and_a_code_that_fits_the_step(share: float) -> None:
    made = events(count_for(share), errors=share)
    failed = [event for event in made if event.status == "error"]
    assert len(failed) / len(made) == pytest.approx(share, abs=0.01)
    assert all((event.error_code is None) == (event.status == "success") for event in made)
    declined = {event.event_type for event in failed if event.error_code == "payment_declined"}
    assert declined <= {"checkout", "purchase"}


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_late_visits_have_their_share_and_lateness_and_stay_in_order(share: float) -> None:
    made = events(count_for(share), late=share, late_by=60_000)
    lateness = [START + number * 10 - event.event_time for number, event in enumerate(made)]
    assert all(late == 0 or 30_000 <= late <= 60_000 for late in lateness)
    assert sum(late > 0 for late in lateness) / len(made) == pytest.approx(share, abs=0.03)
    last: dict[object, int] = {}
    for event in made:
        assert last.get(event.session_id, 0) < event.event_time
        last[event.session_id] = event.event_time


def test_popularity_falls_with_rank_as_zipf_says() -> None:
    drawn = Counter(Zipf(100, 1.0).draw(chance_of("1"), 100_000).tolist())
    for rank in (1, 3, 9):
        assert drawn[0] / drawn[rank] == pytest.approx(rank + 1, rel=0.15)
    assert drawn.keys() == set(range(100))


def test_a_draw_at_the_very_end_is_still_a_rank() -> None:
    class Last(np.random.Generator):
        def random(self, size: int) -> np.ndarray[Any, Any]:  # type: ignore[override]
            return np.ones(size)

    assert Zipf(3, 1.0).draw(Last(np.random.PCG64()), 1).tolist() == [2]


def test_few_users_and_products_make_much_of_the_traffic() -> None:
    made = events(20_000)
    users = Counter(event.user_id for event in made)
    assert len(users) > 1000
    top = sum(count for _, count in users.most_common(len(users) // 10))
    assert top / len(made) > 0.25
