"""How long routing keys have been nacked on a connection, and when it is worth to connect anew.

A channel of RabbitMQ's keeps the leader that a quorum queue had when it first published to it. Was that leader down at that
moment, the channel asks it again for each message, and nacks them all, long after the other nodes have elected a new one: only
a new channel learns of it (`rabbit_fifo_client:enqueue` of RabbitMQ 3.10). A queue that is full is nacked as well, and there a
new connection is of no use: the pauses between them grow.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Refusals"]

_FIRST_PATIENCE: Final = 5.0
_LONGEST_PATIENCE: Final = 300.0


class Refusals:
    """What is nacked now. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        """The routing keys whose last answer was a nack, and since when, on this connection."""
        self._patience = _FIRST_PATIENCE

    def nacked(self, key: str, now: float, *, silent_since: float) -> bool:
        """Note a nack of routing key `key`, before which the broker had no answer since `silent_since`.

        True: it is time to connect anew. That is so when nothing of it was taken for 5 seconds, then for 10 on the next
        connection, 20, and 300 at most.
        """
        if now - self.since.setdefault(key, silent_since) < self._patience:
            return False
        self.since = dict.fromkeys(self.since, now)
        self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        return True

    def over(self, key: str) -> None:
        """Note that the broker had another answer for a message of routing key `key`."""
        if self.since.pop(key, None) is not None and not self.since:
            self._patience = _FIRST_PATIENCE
