"""What the memory transport's broker does with exchanges, bindings, bounds and dead letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.memory_broker import MemoryBroker, topic_matches
from aioswap.transports.memory_queue import Held, Queue
from aioswap.transports.topology import Binding, QueueDeclaration
from aioswap.wire.events import EventPattern

CONFIRMED, RETURNED, NACKED = Confirmation.CONFIRMED, Confirmation.RETURNED, Confirmation.NACKED


class _Taker:
    """A consumer that takes up to `room` messages."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[Held] = []

    @property
    def has_room(self) -> bool:
        return len(self.taken) < self.room

    def take(self, queue: Queue, held: Held) -> None:
        self.taken.append(held)

    @property
    def bodies(self) -> list[bytes]:
        return [held.message.body for held in self.taken]


class _Broker(MemoryBroker):
    """A broker whose queues are quickly made and read."""

    def __init__(self) -> None:
        self.manual = ManualClock()
        super().__init__("nova", self.manual)
        self.resume()

    def make(self, name: str, *keys: str, exchange: str | None = None, **arguments: Any) -> Queue:
        dashed = {f"x-{argument.replace('_', '-')}": value for argument, value in arguments.items()}
        self.declare(QueueDeclaration(name=name, arguments=dashed))
        for key in keys:
            self.bind(Binding(queue=name, exchange=exchange, routing_key=key))
        return self.queues[name]

    def put(self, key: str, *bodies: bytes, exchange: str | None = None, headers: Any = None) -> list[Confirmation]:
        message = Message(routing_key=key, body=b"", message_id="m", exchange=exchange, headers=headers or {})
        return [self.publish(replace(message, body=body)) for body in bodies]

    def drain(self, name: str) -> list[bytes]:
        return [held.message.body for held in self.held(name)]

    def held(self, name: str) -> list[Held]:
        held = []
        while (one := self.queues[name].get()) is not None:
            held.append(one)
        return held


@pytest.fixture
def broker() -> _Broker:
    return _Broker()


# Routing


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a", "a.b", False),
        ("*", "a", True),
        ("*", "", False),
        ("*", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("*.b", "a.b", True),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#.c", "a.b.c", True),
        ("#.c", "c", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b", False),
        ("*.#", "", False),
        ("#.*", "a", True),
        ("#.#", "a", True),
        ("a.", "a.", True),
    ],
)
def test_a_topic_pattern_matches_words(pattern: str, key: str, matches: bool) -> None:
    assert matches == topic_matches(pattern, key)


_WORDS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5).map(".".join)
_PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=5).map(".".join)


@given(pattern=_PATTERNS, key=_WORDS)
def test_a_broker_and_a_consumer_read_patterns_alike(pattern: str, key: str) -> None:
    assert EventPattern(pattern, object).matches(key) == topic_matches(pattern, key)


def test_a_queue_gets_one_copy_however_many_bindings_match(broker: _Broker) -> None:
    broker.make("q", "a.*", "#", "a.b")
    broker.make("other", "a.b")

    assert [CONFIRMED] == broker.put("a.b", b"1")
    assert [b"1"] == broker.drain("q")
    assert [b"1"] == broker.drain("other")


def test_a_direct_exchange_takes_keys_literally(broker: _Broker) -> None:
    broker.make("q", "*", exchange="own")
    broker.make("other", "a", exchange="own")

    assert [CONFIRMED, CONFIRMED, RETURNED] == [
        answer for key in ("*", "a", "b") for answer in broker.put(key, b"1", exchange="own")
    ]
    assert [b"1"] == broker.drain("q")


def test_the_default_exchange_leads_to_a_queue_by_its_name(broker: _Broker) -> None:
    broker.make("q")

    assert [CONFIRMED, RETURNED] == [*broker.put("q", b"1", exchange=""), *broker.put("other", b"1", exchange="")]
    assert [b"1"] == broker.drain("q")


def test_an_exchange_that_does_not_exist_is_no_place_to_publish_to(broker: _Broker) -> None:
    with pytest.raises(LookupError, match="missing"):
        broker.put("a", b"1", exchange="missing")


def test_routes_follow_what_is_declared_bound_and_deleted(broker: _Broker) -> None:
    before = broker.put("a", b"1")
    broker.make("q", "a")
    bound = broker.put("a", b"2")
    broker.make("other", "a")
    broker.delete("q")
    broker.delete("q")
    after = broker.put("a", b"3")
    broker.delete("other")
    end = broker.put("a", b"4")
    again = broker.make("q")

    assert [RETURNED, CONFIRMED, CONFIRMED, RETURNED] == [*before, *bound, *after, *end]
    assert 0 == len(again)


def test_any_number_of_routing_keys_can_be_used(broker: _Broker) -> None:
    broker.make("q", "#")
    answers = [broker.put(f"key{number}", b"x")[0] for number in range(2_500)]

    assert {CONFIRMED} == set(answers)
    assert 2_500 == len(broker.queues["q"])


def test_a_queue_declared_otherwise_stays_as_it_is(broker: _Broker) -> None:
    queue = broker.make("q", "a", max_length=1)

    assert not broker.declare(QueueDeclaration(name="q"))
    assert broker.declare(QueueDeclaration(name="q", arguments={"x-max-length": 1}))
    assert queue is broker.queues["q"]


def test_what_was_sent_does_not_change_with_its_sender(broker: _Broker) -> None:
    broker.make("q", "a")
    headers: dict[str, Any] = {"list": [1, (2, {"deep": 1})], "map": {"k": 1}}
    properties: dict[str, Any] = {"type": "t", "app_id": None}
    broker.publish(Message(routing_key="a", body=b"", message_id="m", headers=headers, properties=properties))
    headers["list"].clear()
    headers["map"]["k"] = 2
    properties["type"] = "u"
    (held,) = broker.held("q")

    assert {"list": [1, [2, {"deep": 1}]], "map": {"k": 1}} == held.message.headers
    assert {"type": "t"} == held.message.properties


# Bounds


def test_a_full_queue_drops_from_its_head(broker: _Broker) -> None:
    broker.make("q", "a", max_length=2)

    assert [CONFIRMED] * 4 == broker.put("a", b"1", b"2", b"3", b"4")
    assert [b"3", b"4"] == broker.drain("q")


def test_bytes_are_bounded_too(broker: _Broker) -> None:
    broker.make("q", "a", max_length_bytes=10)
    broker.make("r", "a", max_length_bytes=10, overflow="reject-publish")

    assert [CONFIRMED, CONFIRMED, NACKED] == broker.put("a", b"x" * 5, b"y" * 5, b"z")
    assert [b"y" * 5, b"z"] == broker.drain("q")
    assert [b"x" * 5, b"y" * 5] == broker.drain("r")


def test_a_message_larger_than_the_bound_is_dropped_itself(broker: _Broker) -> None:
    broker.make("q", "a", max_length_bytes=10)

    assert [CONFIRMED] == broker.put("a", b"x" * 11)
    assert [] == broker.drain("q")


def test_what_one_queue_rejects_another_keeps(broker: _Broker) -> None:
    broker.make("q", "a", max_length=0, overflow="reject-publish")
    broker.make("other", "a")

    assert [NACKED] == broker.put("a", b"1")
    assert [b"1"] == broker.drain("other")


def test_taken_messages_do_not_count_against_the_bound(broker: _Broker) -> None:
    queue = broker.make("q", "a", max_length=1)
    taker = _Taker(2)
    queue.add(taker)
    broker.put("a", b"1", b"2", b"3")

    assert [b"1", b"2"] == taker.bodies
    assert [b"3"] == broker.drain("q")


def test_what_comes_back_to_a_full_queue_is_the_oldest_and_goes_first(broker: _Broker) -> None:
    queue = broker.make("q", "a", max_length=2)
    taker = _Taker(1)
    queue.add(taker)
    broker.put("a", b"1", b"2", b"3")
    queue.remove(taker)
    queue.give_back(taker.taken[0])

    assert [b"2", b"3"] == broker.drain("q")


# Takers


def test_takers_take_turns(broker: _Broker) -> None:
    queue = broker.make("q", "a")
    one, other = _Taker(3), _Taker(1)
    queue.add(one)
    queue.add(other)
    broker.put("a", b"1", b"2", b"3", b"4", b"5")

    assert ([b"1", b"3", b"4"], [b"2"]) == (one.bodies, other.bodies)
    assert [b"5"] == broker.drain("q")


def test_a_single_active_consumer_is_not_helped_by_the_next(broker: _Broker) -> None:
    queue = broker.make("q", "a", single_active_consumer=True)
    one, other = _Taker(1), _Taker(5)
    queue.add(one)
    queue.add(other)
    broker.put("a", b"1", b"2")
    before = list(other.bodies)
    queue.remove(one)
    queue.remove(one)

    assert ([b"1"], []) == (one.bodies, before)
    assert [b"2"] == other.bodies


def test_a_single_active_queue_without_a_consumer_keeps_its_messages(broker: _Broker) -> None:
    broker.make("q", "a", single_active_consumer=True)
    broker.put("a", b"1")

    assert [b"1"] == broker.drain("q")


def test_given_back_messages_find_their_places_in_any_order(broker: _Broker) -> None:
    queue = broker.make("q", "a")
    broker.put("a", *[b"%d" % number for number in range(6)])
    taken = [queue.get() for _ in range(5)]
    for place in (3, 0, 4, 1, 2):
        held = taken[place]
        assert held is not None
        queue.give_back(held)
    held_again = broker.held("q")

    assert [b"0", b"1", b"2", b"3", b"4", b"5"] == [held.message.body for held in held_again]
    assert [True] * 5 + [False] == [held.redelivered for held in held_again]


def test_nothing_comes_back_to_a_deleted_queue(broker: _Broker) -> None:
    queue = broker.make("q", "a")
    broker.put("a", b"1")
    held = queue.get()
    assert held is not None
    broker.delete("q")
    queue.give_back(held)

    assert 0 == len(queue)


# Time


async def test_a_message_expires_after_its_time(broker: _Broker) -> None:
    queue = broker.make("q", "a", message_ttl=1000)
    broker.put("a", b"1")
    await broker.manual.advance(0.6)
    broker.put("a", b"2")
    await broker.manual.advance(0.399)
    before = len(queue)
    await broker.manual.advance(0.001)
    after = len(queue)
    await broker.manual.advance(0.6)

    assert (2, 1, 0) == (before, after, len(queue))


async def test_a_message_that_was_taken_expires_when_it_comes_back(broker: _Broker) -> None:
    queue = broker.make("q", "a", message_ttl=1000)
    broker.put("a", b"1", b"2")
    early, late = queue.get(), queue.get()
    assert early is not None
    assert late is not None
    await broker.manual.advance(0.5)
    queue.give_back(early)
    await broker.manual.advance(0.5)
    gone = len(queue)
    queue.give_back(late)

    assert (0, 0) == (gone, len(queue))


async def test_an_expired_message_is_not_handed_over(broker: _Broker) -> None:
    queue = broker.make("q", "a", message_ttl=1000)
    broker.put("a", b"1")
    broker.pause()
    await broker.manual.advance(5)
    taker = _Taker(1)
    queue.add(taker)
    got = queue.get()

    assert [] == taker.bodies
    assert got is None


async def test_an_unused_queue_expires(broker: _Broker) -> None:
    broker.make("q", "a", expires=1000)
    broker.put("a", b"1")
    await broker.manual.advance(0.999)
    before = "q" in broker.queues
    await broker.manual.advance(0.001)

    assert before
    assert {} == broker.queues
    assert [RETURNED] == broker.put("a", b"2")


async def test_a_consumer_a_look_or_a_declaration_is_use(broker: _Broker) -> None:
    queue = broker.make("q", "a", expires=1000)
    taker = _Taker(1)
    await broker.manual.advance(0.9)
    queue.get()
    await broker.manual.advance(0.9)
    broker.make("q", expires=1000)
    await broker.manual.advance(0.9)
    queue.add(taker)
    await broker.manual.advance(100)
    queue.remove(taker)
    await broker.manual.advance(0.9)
    before = "q" in broker.queues
    await broker.manual.advance(0.1)

    assert before
    assert {} == broker.queues


async def test_deadlines_pass_while_the_broker_is_paused_and_end_when_it_resumes(broker: _Broker) -> None:
    broker.make("q", "a", expires=1000)
    broker.make("ttl", "a", message_ttl=1000)
    broker.make("plain", "a")
    broker.put("a", b"1")
    broker.pause()
    await broker.manual.advance(10)
    paused = sorted(broker.queues)
    broker.resume()
    await broker.manual.advance(0)

    assert ["plain", "q", "ttl"] == paused
    assert ["plain", "ttl"] == sorted(broker.queues)
    assert (0, 1) == (len(broker.queues["ttl"]), len(broker.queues["plain"]))


# Dead letters


async def test_an_expired_message_goes_where_the_arguments_say(broker: _Broker) -> None:
    broker.make("wait", "w", exchange="own", message_ttl=1000, dead_letter_exchange="own", dead_letter_routing_key="q")
    broker.make("q", "q", exchange="own")
    broker.put("w", b"1", exchange="own", headers={"attempt": 2})
    await broker.manual.advance(1)
    (held,) = broker.held("q")

    assert ("own", "q", b"1", 2) == (
        held.exchange,
        held.message.routing_key,
        held.message.body,
        held.message.headers["attempt"],
    )
    assert [
        {
            "count": 1,
            "reason": "expired",
            "queue": "wait",
            "time": broker.manual.utcnow().replace(microsecond=0),
            "exchange": "own",
            "routing-keys": ["w"],
        }
    ] == held.message.headers["x-death"]
    assert ("own", "wait", "expired") == tuple(
        held.message.headers[f"x-first-death-{of}"] for of in ("exchange", "queue", "reason")
    )


def test_a_dropped_message_keeps_its_routing_key_where_no_other_is_given(broker: _Broker) -> None:
    broker.make("q", "a", max_length=1, dead_letter_exchange="nova-dead")
    broker.make("dead", "a", exchange="nova-dead")
    broker.put("a", b"1", b"2")
    (held,) = broker.held("dead")

    assert ("nova-dead", "a", b"1") == (held.exchange, held.message.routing_key, held.message.body)
    assert "maxlen" == held.message.headers["x-death"][0]["reason"]


@pytest.mark.parametrize("arguments", [{}, {"dead_letter_exchange": "missing"}, {"dead_letter_exchange": ""}])
def test_a_dropped_message_without_a_place_to_go_is_gone(broker: _Broker, arguments: dict[str, str]) -> None:
    broker.make("q", "a", max_length=1, **arguments)
    broker.put("a", b"1", b"2")

    assert {"q": 1} == {name: len(queue) for name, queue in broker.queues.items()}


def test_deaths_are_counted_by_queue_and_reason_and_the_last_comes_first(broker: _Broker) -> None:
    deaths = [{"queue": "other", "reason": "rejected", "count": 1}, {"queue": "q", "reason": "maxlen", "count": 2}, "odd"]
    broker.make("q", "a", max_length=0, dead_letter_exchange="", dead_letter_routing_key="dead")
    broker.make("dead")
    broker.put("a", b"1", headers={"x-death": deaths, "x-first-death-queue": "other"})
    (held,) = broker.held("dead")

    assert [
        {"queue": "q", "reason": "maxlen", "count": 3},
        {"queue": "other", "reason": "rejected", "count": 1},
    ] == held.message.headers["x-death"]
    assert "other" == held.message.headers["x-first-death-queue"]


def test_a_header_that_is_no_list_of_deaths_is_replaced(broker: _Broker) -> None:
    broker.make("q", "a", max_length=0, dead_letter_exchange="", dead_letter_routing_key="dead")
    broker.make("dead")
    broker.put("a", b"1", headers={"x-death": "odd"})
    (held,) = broker.held("dead")

    assert ["q"] == [death["queue"] for death in held.message.headers["x-death"]]


def test_a_message_that_goes_round_by_itself_is_dropped(broker: _Broker) -> None:
    broker.make("q", "a", max_length=0, dead_letter_exchange="nova")
    broker.make("other", "a")
    broker.put("a", b"1")

    assert [b"1", b"1"] == broker.drain("other")
    assert 0 == len(broker.queues["q"])


def test_a_message_may_come_back_to_a_queue_after_somebody_rejected_it(broker: _Broker) -> None:
    deaths = [{"queue": "x", "reason": "rejected", "count": 1}, {"queue": "dead", "reason": "expired", "count": 1}]
    broker.make("q", "a", max_length=0, dead_letter_exchange="", dead_letter_routing_key="dead")
    broker.make("dead")
    broker.put("a", b"kept", headers={"x-death": deaths})
    broker.put("a", b"dropped", headers={"x-death": deaths[1:]})

    assert [b"kept"] == broker.drain("dead")
