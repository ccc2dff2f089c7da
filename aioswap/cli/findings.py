"""What `aioswap doctor` finds: facts turned into words, each with its remedy. Nothing is asked here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import Any, Final

from aioswap.nova_conf import NovaConf
from aioswap.transports.urls import Address, parse_url
from aioswap.wire.events import event_pattern

__all__ = [
    "QueueFacts",
    "Row",
    "State",
    "about_bindings",
    "about_exchange",
    "about_nova_conf",
    "about_policies",
    "about_queue",
    "about_rights",
    "split_remedy",
]


class State(StrEnum):
    """What a row of the report means."""

    FINE = "fine"
    FINDING = "finding"
    """Something that has to be changed."""
    NOTE = "note"
    """Something to know, that may be meant."""
    UNSEEN = "unseen"
    """Something that could not be looked at from here; the remedy is what to run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Args:
        check: what was looked at.
        state: what came of it.
        told: in words.
        remedy: what to do; empty where there is nothing to do.
    """

    check: str
    state: State
    told: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What is known of one of oslo's default queues.

    Args:
        name: the queue's; also its routing key.
        before: messages at the begin; None: there is no such queue, or it was not asked.
        after: messages at the end.
        consumers: how many read it.
        details: what the management plugin says of it; None: it was not asked, or knows nothing.
    """

    name: str
    before: int | None
    after: int | None
    consumers: int
    details: Mapping[str, Any] | None


_DRIVERS: Final = ("messaging", "messagingv2")
_SILENT: Final = ("noop", "log", "test")
_BOUNDS: Final = ("max-length", "max-length-bytes", "message-ttl", "expires")
_ANONYMOUS: Final = re.compile(r"aioswap\.anon\.")
_RESTART: Final = "and restart Nova's services, nova-compute first"


def split_remedy(text: str) -> tuple[str, str]:
    """Return what happened and what to do: a transport's errors hold both, with the last semicolon between them."""
    told, semicolon, remedy = text.rpartition("; ")
    return (told, remedy) if semicolon else (text, "")


def about_nova_conf(nova: NovaConf, topics: Sequence[str], urls: Sequence[str]) -> Iterator[Row]:
    """Say whether a Nova with this configuration emits what is listened for.

    Args:
        nova: what it says.
        topics: what is listened to.
        urls: where; all readable.
    """
    yield _about_transport(nova, urls)
    yield _about_format(nova.notification_format)
    yield _about_drivers(nova.drivers)
    yield _about_topics(nova.topics, topics)
    yield _about_compression(nova.compression)
    yield _about_retry(nova.retry)
    if nova.block_devices:
        yield Row("nova.conf bdms_in_notifications", State.FINE, "payloads tell the instance's volumes")
    else:
        told = "payloads do not tell the instance's volumes: which volume is in use after a swap stays unknown"
        remedy = "if that matters: [notifications] bdms_in_notifications = true"
        yield Row("nova.conf bdms_in_notifications", State.NOTE, told, remedy)


def _about_transport(nova: NovaConf, urls: Sequence[str]) -> Row:
    check = "nova.conf transport_url"
    if nova.transport_url is None:
        told = "there is none: Nova talks to a RabbitMQ on its own host, or takes the URL from elsewhere"
        return Row(check, State.NOTE, told, "give all of Nova's files: --nova-conf can be repeated")
    try:
        emitted = parse_url(nova.transport_url)
    except ValueError as error:
        return Row(check, State.FINDING, f"it cannot be read: {error}", "correct it, unless oslo.messaging takes it as it is")
    heard = {_place(address) for url in urls for address in parse_url(url).addresses}
    whose = "for notifications alone" if nova.own_transport else "the same as for RPC"
    if heard.isdisjoint(map(_place, emitted.addresses)):
        told = f"Nova emits to {emitted} ({whose}), which is not where this listens"
        return Row(check, State.NOTE, told, "compare hosts and vhosts, unless these are other names for the same")
    return Row(check, State.FINE, f"{emitted}, {whose}")


def _place(address: Address) -> tuple[str, int, str]:
    return address.host.lower(), address.port, address.vhost


def _about_format(notification_format: str) -> Row:
    check = "nova.conf notification_format"
    if notification_format in ("versioned", "both"):
        return Row(check, State.FINE, notification_format)
    told = f"{notification_format}: Nova emits no versioned notification, and so none of a swap"
    return Row(check, State.FINDING, told, f"[notifications] notification_format = versioned, or both, {_RESTART}")


def _about_drivers(drivers: Sequence[str]) -> Row:
    check = "nova.conf driver"
    named = ", ".join(drivers)
    if any(driver in _DRIVERS for driver in drivers):
        return Row(check, State.FINE, named)
    if "routing" in drivers:
        return Row(check, State.NOTE, f"{named}: its own file says what is sent where", "look into routing_config")
    silent = f"{named}: nothing of it reaches RabbitMQ" if drivers else "there is none: Nova sends no notification at all"
    unknown = [driver for driver in drivers if driver not in _SILENT]
    told = f"{named}: {', '.join(unknown)} is no driver of oslo.messaging" if unknown else silent
    return Row(check, State.FINDING, told, f"[oslo_messaging_notifications] driver = messagingv2, {_RESTART}")


def _about_topics(emitted: Sequence[str], topics: Sequence[str]) -> Row:
    check = "nova.conf versioned_notifications_topics"
    deaf = [topic for topic in topics if topic not in emitted]
    if not deaf:
        return Row(check, State.FINE, ", ".join(emitted))
    told = f"Nova emits to {', '.join(emitted)}, and not to {', '.join(deaf)}, which is listened to"
    return Row(check, State.FINDING, told, f"--topic {emitted[0]}, or add it to [notifications] versioned_notifications_topics")


def _about_compression(compression: str | None) -> Row:
    check = "nova.conf kombu_compression"
    if compression == "bz2":  # named in oslo's help, unknown to kombu
        told = "bz2: kombu does not know this name, and Nova drops every message"
        return Row(check, State.FINDING, told, f"[oslo_messaging_rabbit] kombu_compression = bzip2, or none, {_RESTART}")
    return Row(check, State.FINE, compression or "none")


def _about_retry(retry: int) -> Row:
    check = "nova.conf retry"
    if retry < 0:
        told = f"{retry}: while RabbitMQ is away, a swap waits in Nova for its notifications to be sent"
        return Row(check, State.NOTE, told, "if that matters: [oslo_messaging_notifications] retry = 0; they are lost then")
    told = f"{retry}: while RabbitMQ is away for longer than that, notifications are lost"
    return Row(check, State.NOTE, told, "such a swap is never heard of: ask Nova for it")


def about_rights(error: str, user: str, vhost: str, exchange: str, topics: Sequence[str]) -> Row:
    """Return the finding for a right that the broker has refused to a consumer.

    Args:
        error: the broker's words are in it.
        user: who logged in.
        vhost: where.
        exchange: the notification exchange.
        topics: what is listened to.
    """
    told, _ = split_remedy(error)
    own, everything = r"^aioswap\.", rf"^(aioswap\..*|{re.escape(exchange)})$"
    keys = rf"^({'|'.join(map(re.escape, topics))})\.(info|error)$"
    if "topic '" in told:
        what = f"{user} has no right to read these topics of the exchange {exchange}"
        remedy = f"rabbitmqctl set_topic_permissions -p {quote(vhost)} {quote(user)} {quote(exchange)} '^$' {quote(keys)}"
    else:
        what = f"{user} has no right to {_missing_right(told, exchange)}"
        rights = " ".join(map(quote, (own, own, everything)))
        remedy = f"rabbitmqctl set_permissions -p {quote(vhost)} {quote(user)} {rights}"
    return Row("rights", State.FINDING, f"{what}: {told}", remedy)


def _missing_right(told: str, exchange: str) -> str:
    if "exchange '" in told:
        return f"read the exchange {exchange}"
    if "reading the queue" in told:
        return "read its own queue"
    return "bind its own queue" if "binding the queue" in told else "declare its own queue"


def about_exchange(details: Mapping[str, Any], nova: NovaConf | None) -> Row:
    """Say whether the exchange, as the management plugin knows it, is one that Nova can publish to."""
    check, name = "exchange flags", details.get("name")
    durable, kind = bool(details.get("durable")), details.get("type")
    if kind != "topic":
        remedy = "stop Nova, delete the exchange, start Nova: it makes it anew"
        return Row(check, State.FINDING, f"{name} is a {kind} exchange: Nova needs a topic exchange (406)", remedy)
    words = "durable" if durable else "not durable"
    if nova is not None and nova.durable != durable:
        wanted = "durable" if nova.durable else "not durable"
        told = f"{name} is {words}, nova.conf makes it {wanted}: Nova drops every notification (406)"
        remedy = (
            f"[oslo_messaging_rabbit] amqp_durable_queues = {str(durable).lower()}, or delete the exchange while Nova is down"
        )
        return Row(check, State.FINDING, told, remedy)
    return Row(check, State.FINE, f"a topic exchange, {words}")


def about_bindings(bindings: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[Row]:
    """Say for each of `keys` which queues keep what is published with it; those of passers-by do not count."""
    bound = [(str(each.get("routing_key")), str(each.get("destination"))) for each in bindings]
    for key in keys:
        queues = sorted({queue for pattern, queue in bound if _matches(pattern, key) and not _ANONYMOUS.match(queue)})
        if queues:
            yield Row(f"bindings {key}", State.FINE, f"goes to {', '.join(queues)}")
        else:
            told = f"no queue is bound to {key}: what is published with it is lost unless somebody listens just then"
            remedy = "start a consumer of aioswap once, whose queue stays bound; an oslo listener needs an endpoint for it"
            yield Row(f"bindings {key}", State.FINDING, told, remedy)


def _matches(pattern: str, key: str) -> bool:
    try:
        return event_pattern(pattern).matches(key)
    except ValueError:
        return pattern == key


def about_policies(policies: Iterable[Mapping[str, Any]]) -> Row:
    """Say which policies change aioswap's own queues: a policy may shorten what they keep, and let queues expire."""
    touching = []
    for policy in policies:
        definition = _mapping(policy.get("definition"))
        bounds = [name for name in (*_BOUNDS, "dead-letter-exchange") if name in definition]
        if bounds and policy.get("apply-to") != "exchanges" and _touches_pools(str(policy.get("pattern"))):
            touching.append(f"{policy.get('name')} ({', '.join(bounds)})")
    if not touching:
        return Row("policies", State.FINE, "none bounds the queues of aioswap's pools")
    told = f"the queues of aioswap's pools are changed by {', '.join(touching)}"
    return Row("policies", State.NOTE, told, "if that is not meant: give these policies a pattern that spares ^aioswap\\.")


def _touches_pools(pattern: str) -> bool:
    try:
        return re.search(pattern, "aioswap.pool") is not None
    except re.error:
        return False


def about_queue(facts: QueueFacts, nova: NovaConf | None, vhost: str, seconds: float) -> Iterator[Row]:
    """Say whether one of oslo's default queues fits nova.conf, and whether it grows without anybody reading it."""
    check = f"queue {facts.name}"
    if facts.before is None or facts.after is None:
        told = "there is none yet: Nova declares it with its first notification of that priority"
        yield Row(check, State.NOTE, told)
        return
    if (wrong := _wrong_flags(facts, nova)) is not None:
        yield wrong
    readers = f"{facts.consumers} consumers" if facts.consumers != 1 else "1 consumer"
    if facts.after > facts.before:
        holds = f"grows: {facts.before} messages, {facts.after} after {seconds:g} s, {readers}"
    else:
        holds = f"{facts.after} messages, {readers}"
    if facts.consumers or facts.after == 0:
        yield Row(check, State.NOTE if facts.after > facts.before else State.FINE, holds)
        return
    bound = _bound(facts.details)
    if bound:
        yield Row(check, State.FINE, f"{holds}; it is bounded by {bound}")
    elif bound is None and facts.after <= facts.before:
        command = f"rabbitmqctl list_queues -p {quote(vhost)} name arguments policy effective_policy_definition"
        yield Row(check, State.UNSEEN, f"{holds}: nobody reads it; whether a policy bounds it is not seen from here", command)
    else:
        yield Row(check, State.FINDING, f"{holds}: nobody reads it, and it grows without bound", _bound_it(facts.name, vhost))


def _bound_it(queue: str, vhost: str) -> str:
    pattern, definition = quote(f"^{re.escape(queue)}$"), quote('{"max-length": 10000}')
    return (
        f"let somebody read it, or bound it: rabbitmqctl set_policy -p {quote(vhost)} --apply-to queues "
        f"bound-{queue} {pattern} {definition}"
    )


def _bound(details: Mapping[str, Any] | None) -> str | None:
    """Return what bounds a queue, empty if nothing does; None: not known."""
    if details is None:
        return None
    arguments = _mapping(details.get("arguments"))
    policy = _mapping(details.get("effective_policy_definition"))
    bounds = [name for name in _BOUNDS if name in policy or f"x-{name}" in arguments]
    named = details.get("policy")
    return f"{', '.join(bounds)}{f' (policy {named})' if named else ''}" if bounds else ""


def _wrong_flags(facts: QueueFacts, nova: NovaConf | None) -> Row | None:
    """Return the finding for a queue that Nova cannot declare again as it is."""
    if facts.details is None or nova is None:
        return None
    quorum = _mapping(facts.details.get("arguments")).get("x-queue-type") == "quorum"
    durable = bool(facts.details.get("durable"))
    if (durable, quorum) == (nova.durable, nova.quorum):
        return None
    found, wanted = _flags(durable, quorum), _flags(nova.durable, nova.quorum)
    told = f"it is {found}, nova.conf makes it {wanted}: Nova drops every notification for it (406)"
    remedy = "delete the queue while Nova is down, or correct amqp_durable_queues and rabbit_quorum_queue"
    return Row(f"queue {facts.name} flags", State.FINDING, told, remedy)


def _flags(durable: bool, quorum: bool) -> str:
    return "a quorum queue" if quorum else "durable" if durable else "not durable"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
