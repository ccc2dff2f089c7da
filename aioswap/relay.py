"""The relay: publishes what an outbox holds, in order, and removes what the broker has confirmed.

At most `WINDOW` messages are unconfirmed at a time. Trouble with the connection: all of them go back, and the replay begins
at the lowest. Refused by the broker: the gate of that routing key closes, other keys flow.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

from aioswap.clock import Clock, Timer
from aioswap.errors import TransportError
from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.transports.base import Answer, Confirmation, Entry, Outbox, Sender
from aioswap.wire.faults import traceback_of

__all__ = ["WINDOW", "Relay"]

_logger = logging.getLogger(__name__)

WINDOW: Final = 128
"""Messages sent and not yet confirmed."""

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 30.0
_PARK_AFTER: Final = 60.0
"""Seconds for which a routing key may return everything before its messages are parked."""


@dataclass(slots=True, eq=False)
class _Gate:
    """A routing key whose messages the broker refuses. Times are monotonic seconds."""

    refusal: Confirmation
    returned_since: float | None
    delay: float = _FIRST_DELAY
    timer: Timer | None = None
    probe: Entry | None = None
    probe_due: bool = False
    parked: int = 0

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def parks(self, now: float) -> bool:
        return self.returned_since is not None and now - self.returned_since >= _PARK_AFTER


class Relay:
    """Moves messages from `outbox` to whatever sender it runs with.

    Args:
        outbox: what to publish. One relay at a time.
        clock: times back-off and parking.
        hooks: told of each publish.
    """

    def __init__(self, outbox: Outbox, *, clock: Clock, hooks: Hooks) -> None:
        self._outbox = outbox
        self._clock = clock
        self._hooks = hooks
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._in_flight: dict[Entry, Operation | None] = {}
        self._run = 0
        """Which run it is: answers to an earlier one come too late."""
        self._gates: dict[str, _Gate] = {}
        self._lost = False

    @property
    def refused(self) -> dict[str, str]:
        """The routing keys whose gate is closed, and how the broker refuses them."""
        return {key: gate.refusal.value for key, gate in self._gates.items()}

    async def run(self, sender: Sender) -> None:
        """Publish until cancelled, or until `sender` raises. What is in flight then goes back to the outbox."""
        self._run += 1
        self._outbox.attach(self._work.set)
        try:
            while True:
                await sender.ready()
                await self._publish(sender)
        finally:
            self._outbox.attach(None)
            for gate in self._gates.values():
                gate.stop()
            self._gates.clear()
            self._outbox.give_back(self._in_flight)
            self._in_flight.clear()

    async def drained(self) -> None:
        """Wait, without limit, until the outbox has no backlog."""
        while self._outbox.counts().backlog:
            self._settled.clear()
            await self._settled.wait()

    async def _publish(self, sender: Sender) -> None:
        """Return when the connection was lost and every message in flight has gone back."""
        self._lost = False
        while self._in_flight or not self._lost:
            self._work.clear()
            if not self._lost:
                for key, gate in tuple(self._gates.items()):
                    self._visit(sender, key, gate)
                room = WINDOW - len(self._in_flight)
                for entry in self._outbox.take(room, skip=self._gates) if room > 0 else ():
                    self._send(sender, entry)
            await self._work.wait()

    def _send(self, sender: Sender, entry: Entry) -> None:
        operation = None
        if self._hooks:
            message = entry.message
            operation = Operation(
                kind=OperationKind.PUBLISH,
                message_id=message.message_id,
                routing_key=message.routing_key,
                size=len(message.body),
                headers=dict(message.headers),
            )
            self._hooks.started(operation)
        self._in_flight[entry] = operation
        sender.submit(entry.message, partial(self._answered, self._run, entry))

    def _answered(self, run: int, entry: Entry, answer: Answer) -> None:
        if run != self._run or entry not in self._in_flight:  # what was in flight when a run ended has gone back
            return
        operation = self._in_flight.pop(entry)
        if answer is Confirmation.CONFIRMED:
            self._confirmed(entry)
        elif isinstance(answer, Confirmation):
            self._refused(entry, answer)
        elif isinstance(answer, ValueError):
            self._refused(entry, Confirmation.NACKED, impossible=str(answer))
        else:
            self._unanswered(entry, answer)
        if operation is not None:
            if isinstance(answer, Confirmation):
                operation.outcome = answer.value
            else:
                operation.error, operation.outcome = answer, "unconfirmed"
            self._hooks.finished(operation)
        self._work.set()
        self._settled.set()

    def _confirmed(self, entry: Entry) -> None:
        self._outbox.confirm(entry)
        key = entry.message.routing_key
        gate = self._gates.get(key)
        if gate is not None and gate.probe is entry:
            gate.stop()
            del self._gates[key]
            _logger.info("the broker takes %s again; %d messages of it were parked", key, gate.parked)

    def _unanswered(self, entry: Entry, error: Exception) -> None:
        """Connection trouble: the message may or may not have arrived, and is sent again with the same ids."""
        self._lost = True
        gate = self._gates.get(entry.message.routing_key)
        if gate is not None and gate.probe is entry:
            gate.probe = None
            gate.probe_due = True
        self._outbox.give_back((entry,))
        if not isinstance(error, TransportError):
            _logger.error("sending failed in an unexpected way; it is tried again\n%s", traceback_of(error))

    def _refused(self, entry: Entry, refusal: Confirmation, *, impossible: str = "") -> None:
        key = entry.message.routing_key
        now = self._clock.monotonic()
        if impossible and self._outbox.park(entry, impossible):
            _logger.error("parked message %s: %s", entry.message.message_id, impossible)
            return
        gate = self._gates.get(key)
        if gate is None:
            _logger.warning("the broker has %s a message of routing key %s; its later ones wait", refusal, key)
            gate = self._gates[key] = _Gate(refusal, now if refusal is Confirmation.RETURNED else None)
            self._schedule(key, gate)
        elif gate.probe is entry:
            gate.probe = None
            gate.refusal = refusal
            gate.delay = min(gate.delay * 2, _LONGEST_DELAY)
            if refusal is Confirmation.NACKED:
                gate.returned_since = None
            elif gate.returned_since is None:
                gate.returned_since = now
            self._schedule(key, gate)
        if not (gate.parks(now) and self._park(gate, entry)):
            self._outbox.give_back((entry,))

    def _schedule(self, key: str, gate: _Gate) -> None:
        def due() -> None:
            gate.probe_due = True
            self._work.set()

        gate.timer = self._clock.call_later(gate.delay, due)

    def _visit(self, sender: Sender, key: str, gate: _Gate) -> None:
        """Send the probe of a closed gate if it is due; else park what waits there, once it is time to: a window in a turn."""
        if gate.probe_due and (head := self._outbox.take(1, only=key)):
            gate.probe_due = False
            gate.probe = head[0]
            self._send(sender, head[0])
        if gate.probe is not None or not gate.parks(self._clock.monotonic()):
            return
        waiting = self._outbox.take(WINDOW, only=key)
        left = [entry for entry in waiting if not self._park(gate, entry)]
        if left:
            self._outbox.give_back(left)
        elif waiting:
            asyncio.get_running_loop().call_soon(self._work.set)

    def _park(self, gate: _Gate, entry: Entry) -> bool:
        key = entry.message.routing_key
        parked = self._outbox.park(entry, f"returned: no queue is bound for {key}; bind one, then send it again")
        if parked:
            if not gate.parked:
                _logger.warning("no queue is bound for %s: its messages are parked; bind one, then send them again", key)
            gate.parked += 1
            _logger.debug("parked message %s", entry.message.message_id)
            self._settled.set()
        return parked
