"""What the doctor makes of facts: words and remedies, without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from aioswap.cli.findings import (
    QueueFacts,
    Row,
    State,
    about_bindings,
    about_exchange,
    about_nova_conf,
    about_policies,
    about_queue,
    about_rights,
    split_remedy,
)
from aioswap.nova_conf import NovaConf

_TOPICS = ("versioned_notifications",)
_URLS = ("amqp://a/",)


def _nova(**said: Any) -> dict[str, Row]:
    """Return the rows about a nova.conf, by their check without `nova.conf`."""
    rows = about_nova_conf(NovaConf(**said), _TOPICS, _URLS)
    return {row.check.removeprefix("nova.conf "): row for row in rows}


@pytest.mark.parametrize(
    ("said", "check", "state"),
    [
        ({"notification_format": "versioned"}, "notification_format", State.FINE),
        ({"notification_format": "both"}, "notification_format", State.FINE),
        ({}, "notification_format", State.FINDING),
        ({"notification_format": "typo"}, "notification_format", State.FINDING),
        ({"drivers": ("messagingv2",)}, "driver", State.FINE),
        ({"drivers": ("log", "messaging")}, "driver", State.FINE),
        ({}, "driver", State.FINDING),
        ({"drivers": ("noop",)}, "driver", State.FINDING),
        ({"drivers": ("log", "test")}, "driver", State.FINDING),
        ({"drivers": ("messagingv3",)}, "driver", State.FINDING),
        ({"drivers": ("routing",)}, "driver", State.NOTE),
        ({}, "versioned_notifications_topics", State.FINE),
        ({"topics": ("a", "versioned_notifications")}, "versioned_notifications_topics", State.FINE),
        ({"topics": ("a",)}, "versioned_notifications_topics", State.FINDING),
        ({"compression": "bz2"}, "kombu_compression", State.FINDING),
        ({"compression": "gzip"}, "kombu_compression", State.FINE),
        ({}, "kombu_compression", State.FINE),
        ({}, "retry", State.NOTE),
        ({"retry": 0}, "retry", State.NOTE),
        ({}, "bdms_in_notifications", State.NOTE),
        ({"block_devices": True}, "bdms_in_notifications", State.FINE),
        ({}, "transport_url", State.NOTE),
        ({"transport_url": "rabbit://A/"}, "transport_url", State.FINE),
        ({"transport_url": "rabbit://b,a/", "own_transport": True}, "transport_url", State.FINE),
        ({"transport_url": "rabbit://b/"}, "transport_url", State.NOTE),
        ({"transport_url": "rabbit://a/other"}, "transport_url", State.NOTE),
        ({"transport_url": "kafka://u:secret@a/"}, "transport_url", State.FINDING),
    ],
)
def test_a_nova_conf_is_judged(said: dict[str, Any], check: str, state: State) -> None:
    row = _nova(**said)[check]

    assert state == row.state
    assert "secret" not in f"{row}"
    assert bool(row.remedy) == (state in (State.FINDING, State.NOTE))


def test_the_words_name_what_is_wrong() -> None:
    assert "unversioned: Nova emits no versioned notification" in _nova()["notification_format"].told
    assert "noop: nothing of it reaches RabbitMQ" == _nova(drivers=("noop",))["driver"].told
    assert "messagingv3 is no driver" in _nova(drivers=("messagingv3",))["driver"].told
    assert "waits" in _nova()["retry"].told
    assert "lost" in _nova(retry=2)["retry"].told
    assert "for notifications alone" in _nova(transport_url="rabbit://a/", own_transport=True)["transport_url"].told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("a: declaring the queue q: the broker says 403 access to queue 'q' in vhost '/' refused", "declare its own queue"),
        ("a: binding the queue q to the exchange n: the broker says 403 access to queue 'q'", "bind its own queue"),
        ("a: binding the queue q to the exchange n: the broker says 403 access to exchange 'nova'", "read the exchange nova"),
        ("a: binding the queue q: 403 write access to topic 'k' in exchange 'nova' refused", "read these topics"),
        ("a: reading the queue q: the broker says 403 access to queue 'q'", "read its own queue"),
    ],
)
def test_a_missing_right_is_named_with_the_command_that_gives_it(error: str, words: str) -> None:
    row = about_rights(f"{error}; ask the administrator", "me too", "my vhost", "nova", ("t.1", "u"))

    assert State.FINDING == row.state
    assert f"me too has no right to {words}" in row.told
    assert "ask the administrator" not in row.told
    assert "-p 'my vhost' 'me too' " in row.remedy
    if "topic" in words:
        assert r"set_topic_permissions -p 'my vhost' 'me too' nova '^$' '^(t\.1|u)\.(info|error)$'" in row.remedy
    else:
        assert r"'^aioswap\.' '^aioswap\.' '^(aioswap\..*|nova)$'" in row.remedy


@pytest.mark.parametrize(("text", "parts"), [("a; b; c", ("a; b", "c")), ("a", ("a", "")), ("a;b", ("a;b", ""))])
def test_a_text_is_split_into_what_happened_and_what_to_do(text: str, parts: tuple[str, str]) -> None:
    assert parts == split_remedy(text)


@pytest.mark.parametrize(
    ("details", "durable", "state", "words"),
    [
        ({"type": "topic", "durable": True}, None, State.FINE, "a topic exchange, durable"),
        ({"type": "topic", "durable": False}, False, State.FINE, "a topic exchange, not durable"),
        ({"type": "topic", "durable": True}, False, State.FINDING, "nova is durable, nova.conf makes it not durable"),
        ({"type": "topic", "durable": False}, True, State.FINDING, "nova is not durable, nova.conf makes it durable"),
        ({"type": "fanout", "durable": True}, None, State.FINDING, "nova is a fanout exchange"),
    ],
)
def test_an_exchange_is_judged(details: dict[str, Any], durable: bool | None, state: State, words: str) -> None:
    row = about_exchange({"name": "nova", **details}, None if durable is None else NovaConf(durable=durable))

    assert (state, True) == (row.state, words in row.told)


def _bound(*bindings: tuple[str, str]) -> State:
    (row,) = about_bindings([{"routing_key": key, "destination": queue} for key, queue in bindings], ["t.error"])
    return row.state


def test_a_key_must_be_bound_by_somebody_who_stays() -> None:
    assert State.FINE == _bound(("t.error", "q"))
    assert State.FINE == _bound(("t.*", "q"))
    assert State.FINE == _bound(("#", "q"), ("t.info", "r"))
    assert State.FINDING == _bound()
    assert State.FINDING == _bound(("t.info", "q"), ("t", "r"), ("", "s"), ("t..error", "u"))
    assert State.FINDING == _bound(("t.error", "aioswap.anon.1.q"))


def _queue(
    before: int | None,
    after: int | None,
    consumers: int = 0,
    details: dict[str, Any] | None = None,
    nova: NovaConf | None = None,
) -> list[Row]:
    facts = QueueFacts(name="t.info", before=before, after=after, consumers=consumers, details=details)
    return list(about_queue(facts, nova, "/", 10.0))


@pytest.mark.parametrize(
    ("rows", "state", "words"),
    [
        (_queue(None, None), State.NOTE, "there is none yet"),
        (_queue(1, None), State.NOTE, "there is none yet"),
        (_queue(0, 0), State.FINE, "0 messages, 0 consumers"),
        (_queue(5, 3, 1), State.FINE, "3 messages, 1 consumer"),
        (_queue(3, 5, 2), State.NOTE, "grows: 3 messages, 5 after 10 s, 2 consumers"),
        (_queue(3, 5), State.FINDING, "grows: 3 messages, 5 after 10 s, 0 consumers: nobody reads it"),
        (_queue(5, 5), State.UNSEEN, "whether a policy bounds it is not seen"),
        (_queue(5, 5, details={}), State.FINDING, "nobody reads it"),
        (_queue(5, 5, details={"arguments": [], "effective_policy_definition": []}), State.FINDING, "nobody reads it"),
        (_queue(5, 5, details={"arguments": {"x-message-ttl": 1}}), State.FINE, "bounded by message-ttl"),
        (
            _queue(3, 5, details={"policy": "p", "effective_policy_definition": {"max-length": 1, "expires": 1}}),
            State.FINE,
            "bounded by max-length, expires (policy p)",
        ),
    ],
)
def test_a_default_queue_is_judged(rows: list[Row], state: State, words: str) -> None:
    (row,) = rows

    assert (state, "queue t.info") == (row.state, row.check)
    assert words in row.told


_CLASSIC: dict[str, Any] = {"durable": True, "arguments": {}}
_QUORUM: dict[str, Any] = {"durable": True, "arguments": {"x-queue-type": "quorum"}}


@pytest.mark.parametrize(
    ("details", "nova", "words"),
    [
        (_CLASSIC, NovaConf(durable=True), None),
        (_QUORUM, NovaConf(durable=True, quorum=True), None),
        (_CLASSIC, None, None),
        (None, NovaConf(), None),
        (_CLASSIC, NovaConf(), "it is durable, nova.conf makes it not durable"),
        (_CLASSIC, NovaConf(durable=True, quorum=True), "it is durable, nova.conf makes it a quorum queue"),
        (_QUORUM, NovaConf(durable=True), "it is a quorum queue, nova.conf makes it durable"),
    ],
)
def test_flags_that_nova_cannot_declare_are_found(
    details: dict[str, Any] | None, nova: NovaConf | None, words: str | None
) -> None:
    found = [row for row in _queue(0, 0, details=details, nova=nova) if row.state is State.FINDING]

    assert (0 if words is None else 1) == len(found)
    assert all(words is not None and words in row.told and row.check == "queue t.info flags" for row in found)


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        ({"pattern": "^aioswap", "definition": {"expires": 1}}, State.NOTE),
        ({"pattern": ".*", "definition": {"message-ttl": 1}, "apply-to": "all"}, State.NOTE),
        ({"pattern": ".*", "definition": {"ha-mode": "all"}}, State.FINE),
        ({"pattern": ".*", "definition": {"expires": 1}, "apply-to": "exchanges"}, State.FINE),
        ({"pattern": "^amq", "definition": {"expires": 1}}, State.FINE),
        ({"pattern": "(", "definition": {"expires": 1}}, State.FINE),
        ({"pattern": ".*", "definition": None}, State.FINE),
    ],
)
def test_policies_that_touch_pools_are_told(policy: dict[str, Any], state: State) -> None:
    row = about_policies([{"name": "p", **policy}])

    assert state == row.state
    assert (state is State.NOTE) == ("changed by p (" in row.told)
