"""When nobody listened.

A tracker's queue outlives a loss of connection by five minutes, and what comes meanwhile waits in it: a short loss loses
nothing. A receiver does not say whether its queue was lost, so the rule is one of time. It is looked at every 30 s; where it
was not seen connected for more than four minutes, the span from the last look that saw it to the first that sees it again
counts as deaf, and to now while it lasts. The fifth minute is for what neither end of a dead connection notices at once. A
queue that somebody deletes is made anew within seconds, and what was in it is lost unseen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aioswap.attempts import Span
from aioswap.transports.base import Receiver

__all__ = ["LOOK_EVERY", "Ear"]

LOOK_EVERY: Final = 30.0
"""Seconds between two looks."""
_OUTLIVED: Final = timedelta(minutes=4)


class Ear:
    """A receiver, and when it was last seen connected.

    Args:
        receiver: it, connected.
        now: the moment, by the wall clock.
    """

    def __init__(self, receiver: Receiver, now: datetime) -> None:
        self.receiver = receiver
        self._seen = now

    def look(self, now: datetime) -> Span | None:
        """Return the span in which it was deaf, as far as it is known now; None: it was not."""
        begin = self._seen
        if self.receiver.health.connected:
            self._seen = now
        return (begin, now) if now - begin > _OUTLIVED else None
