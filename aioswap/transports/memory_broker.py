"""The broker of the memory transport: exchanges, queues and what is between them, in dictionaries.

Plain calls, no loop of its own: connections are the transport's. Source: AMQP 0-9-1, rabbitmq.com on dead lettering.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from aioswap.clock import Clock
from aioswap.transports.base import NOTIFICATION_PROPERTIES, Confirmation, Message
from aioswap.transports.memory_queue import Held, Queue
from aioswap.transports.topology import Binding, QueueDeclaration

__all__ = ["MemoryBroker", "topic_matches"]

_MAX_ROUTES: Final = 1_000
"""Routes that are remembered: there may be any number of routing keys."""


def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether a binding of a topic exchange matches: `*` is one word, `#` any number of words, none included."""
    return _words_match(pattern.split("."), routing_key.split(".") if routing_key else [])


def _words_match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_words_match(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _words_match(rest, words[1:])


class MemoryBroker:
    """What stays when every connection is gone.

    Args:
        exchange: the notification exchange, a topic exchange; it is always there.
        clock: times x-message-ttl and x-expires.
    """

    def __init__(self, exchange: str, clock: Clock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.running = False
        self.queues: dict[str, Queue] = {}
        self._bindings: dict[str, dict[tuple[str, str], None]] = {exchange: {}}
        self._routes: dict[tuple[str, str], tuple[Queue, ...]] = {}

    def resume(self) -> None:
        """Let time pass: timers are set from here on."""
        self.running = True
        for queue in tuple(self.queues.values()):
            queue.resume()

    def pause(self) -> None:
        """Set no timers any more; deadlines stay."""
        self.running = False
        for queue in self.queues.values():
            queue.pause()

    def declare(self, declaration: QueueDeclaration) -> bool:
        """Make a queue. False: there is one with other arguments, and it stays as it is."""
        queue = self.queues.get(declaration.name)
        if queue is None:
            self.queues[declaration.name] = Queue(self, declaration)
            self._routes.clear()
            return True
        queue.touch()
        return queue.arguments == dict(declaration.arguments)

    def bind(self, binding: Binding) -> None:
        """Let a queue get what an exchange takes with a routing key, or a pattern of them in the notification exchange.

        Another exchange is made if there is none of that name: a direct one.
        """
        exchange = self.exchange if binding.exchange is None else binding.exchange
        self._bindings.setdefault(exchange, {})[binding.routing_key, binding.queue] = None
        self._routes.clear()

    def delete(self, name: str) -> None:
        """Delete a queue, if it is there, with what it holds and its bindings."""
        queue = self.queues.pop(name, None)
        if queue is None:
            return
        queue.delete()
        for bindings in self._bindings.values():
            for key in [key for key in bindings if key[1] == name]:
                del bindings[key]
        self._routes.clear()

    def publish(self, message: Message) -> Confirmation:
        """Put a message into every queue that its exchange and routing key lead to.

        Raises:
            LookupError: there is no such exchange.
        """
        exchange = self.exchange if message.exchange is None else message.exchange
        queues = self._route(exchange, message.routing_key)
        if not queues:
            return Confirmation.RETURNED
        stored = _as_sent(message)
        taken = [queue.offer(stored, exchange) for queue in queues]
        return Confirmation.CONFIRMED if all(taken) else Confirmation.NACKED

    def dead_letter(self, queue: Queue, held: Held, reason: str) -> None:
        """Publish what `queue` gave up to its x-dead-letter-exchange, if it has one and that exists, with an x-death header."""
        exchange = queue.arguments.get("x-dead-letter-exchange")
        if exchange is None or (exchange and exchange not in self._bindings):
            return
        message = held.message
        routing_key = queue.arguments.get("x-dead-letter-routing-key", message.routing_key)
        headers = _with_death(message.headers, queue.name, reason, held, self.clock)
        letter = replace(message, exchange=exchange, routing_key=routing_key, headers=headers)
        for target in self._route(exchange, routing_key):
            if not _goes_round(target.name, headers["x-death"]):
                target.offer(letter, exchange)

    def _route(self, exchange: str, routing_key: str) -> tuple[Queue, ...]:
        route = self._routes.get((exchange, routing_key))
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = tuple(self.queues[name] for name in self._targets(exchange, routing_key) if name in self.queues)
            self._routes[exchange, routing_key] = route
        return route

    def _targets(self, exchange: str, routing_key: str) -> dict[str, None]:
        if exchange == "":  # AMQP's default exchange: a routing key is a queue's name
            return {routing_key: None}
        if exchange not in self._bindings:
            raise LookupError(f"there is no exchange {exchange!r}")
        bindings = self._bindings[exchange]
        if exchange == self.exchange:
            return {name: None for pattern, name in bindings if topic_matches(pattern, routing_key)}
        return {name: None for key, name in bindings if key == routing_key}


def _as_sent(message: Message) -> Message:
    """Return a message that its sender cannot change any more."""
    if not message.headers and message.properties is NOTIFICATION_PROPERTIES:
        return message
    properties = {name: value for name, value in message.properties.items() if value is not None}
    return replace(message, headers=_copied(message.headers), properties=properties)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _with_death(headers: Mapping[str, Any], queue: str, reason: str, held: Held, clock: Clock) -> dict[str, Any]:
    """Return `headers` with this death first in x-death; a queue's next for the same reason counts one more."""
    given = headers.get("x-death")
    deaths = [death for death in given if isinstance(death, Mapping)] if isinstance(given, list) else []
    same = next((death for death in deaths if (death.get("queue"), death.get("reason")) == (queue, reason)), None)
    if same is None:
        now = clock.utcnow().replace(microsecond=0)
        keys = [held.message.routing_key]
        death = {"count": 1, "reason": reason, "queue": queue, "time": now, "exchange": held.exchange, "routing-keys": keys}
    else:
        death = {**same, "count": same.get("count", 0) + 1}
    first = {"x-first-death-exchange": held.exchange, "x-first-death-queue": queue, "x-first-death-reason": reason}
    return {**first, **headers, "x-death": [death, *(other for other in deaths if other is not same)]}


def _goes_round(queue: str, deaths: list[Mapping[str, Any]]) -> bool:
    """Whether the message was in `queue` before, and nobody rejected it since: RabbitMQ drops it then.

    The header is believed even if a client wrote it (RabbitMQ 3): a copy must not carry it on.
    """
    for death in deaths:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue:
            return True
    return False
