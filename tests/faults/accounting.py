"""The one accounting of all faults: each id that was accepted is delivered, parked, lost at exit or destroyed, or it is lost.

It is fed by those who took part (the emitter's hook, its outbox, the consumer's handler) and by a witness of its own; it
believes none of them alone. It knows neither the network nor time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Copy", "Sum", "account"]


@dataclass(frozen=True, slots=True)
class Copy:
    """One message that the witness found, in the order of its queue."""

    message_id: str
    """The notification's."""
    unique_id: str
    """AMQP's: of this message."""
    routing_key: str
    instance: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What became of the ids of one run. Of each id the first of delivered, parked, lost at exit counts."""

    accepted: int
    confirmed: int
    delivered: int
    parked: int
    lost_at_exit: int
    destroyed: int
    """Deleted in a queue by the fault itself, as it counted them."""
    lost: int
    """What is left of the accepted ones."""
    strangers: int
    """Delivered, and nobody has accepted them."""
    duplicates: int
    """Second copies of one id on the wire."""
    bound: int
    """Duplicates that the faults may cause: the relay's window for each."""
    inversions: int
    """First deliveries of a routing key that came behind one that was accepted later; what was refused counts apart."""
    overtaken: int
    """The same across routing keys, where nothing was refused: then an error must not come before its start."""
    handled: int
    handled_twice: int
    may_handle_twice: int
    """Duplicates that handlers may see: the prefetch for each consumer that was killed."""

    @property
    def exact(self) -> bool:
        """Whether the sum is what it has to be."""
        return (
            self.lost == 0
            and self.strangers == 0
            and self.inversions == 0
            and self.overtaken == 0
            and self.duplicates <= self.bound
            and self.handled == self.delivered
            and self.handled_twice <= self.may_handle_twice
        )

    def __str__(self) -> str:
        parts = [f"accepted {self.accepted}", f"delivered {self.delivered}"]
        optional = {"parked": self.parked, "lost at exit": self.lost_at_exit, "destroyed": self.destroyed}
        parts += [f"{name} {number}" for name, number in optional.items() if number]
        parts += [f"lost {self.lost}", f"duplicates {self.duplicates} (bound {self.bound})", f"inversions {self.inversions}"]
        parts += [f"across routing keys {self.overtaken}"] if self.overtaken else []
        parts += [f"handled {self.handled}, twice {self.handled_twice}"]
        if self.strangers:
            parts += [f"strangers {self.strangers}"]
        return ", ".join(parts)


def account(
    *,
    accepted: Sequence[Sequence[str]],
    copies: Sequence[Copy],
    handled: Sequence[str],
    confirmed: int = 0,
    parked: Collection[str] = (),
    lost_at_exit: Collection[str] = (),
    refused: Collection[str] = (),
    destroyed: int = 0,
    bound: int = 0,
    may_handle_twice: int = 0,
) -> Sum:
    """Return the sum.

    Args:
        accepted: the ids in the order in which they were accepted, one list for each producer.
        copies: what the witness found.
        handled: the ids that a handler ended, each time.
        confirmed: messages of which the emitter says so.
        parked: ids that its outbox keeps as refused.
        lost_at_exit: ids that its outbox held when it was closed.
        refused: AMQP ids of messages that the broker has refused at least once.
        destroyed: what the fault has deleted in a queue.
        bound: of duplicates.
        may_handle_twice: bound of those that handlers see.
    """
    all_accepted = {message_id for producer in accepted for message_id in producer}
    delivered = {copy.message_id for copy in copies}
    only_parked = (all_accepted & set(parked)) - delivered
    only_at_exit = (all_accepted & set(lost_at_exit)) - delivered - only_parked
    missing = len(all_accepted - delivered - only_parked - only_at_exit)
    handlings = Counter(handled)
    return Sum(
        accepted=len(all_accepted),
        confirmed=confirmed,
        delivered=len(delivered),
        parked=len(only_parked),
        lost_at_exit=len(only_at_exit),
        destroyed=destroyed,
        lost=missing - destroyed,
        strangers=len(delivered - all_accepted),
        duplicates=len(copies) - len(delivered),
        bound=bound,
        inversions=sum(_inversions(producer, copies, set(refused), by_key=True) for producer in accepted),
        overtaken=0 if refused else sum(_inversions(producer, copies, set(), by_key=False) for producer in accepted),
        handled=len(handlings),
        handled_twice=handlings.total() - len(handlings),
        may_handle_twice=may_handle_twice,
    )


def _inversions(accepted: Iterable[str], copies: Iterable[Copy], refused: set[str], *, by_key: bool) -> int:
    """Count first deliveries before which one of a later id came."""
    place = {message_id: number for number, message_id in enumerate(accepted)}
    latest: dict[str, int] = {}
    seen: set[str] = set()
    inversions = 0
    for copy in copies:
        if copy.message_id in seen or copy.message_id not in place or copy.unique_id in refused:
            continue
        seen.add(copy.message_id)
        line = copy.routing_key if by_key else ""
        inversions += place[copy.message_id] < latest.get(line, -1)
        latest[line] = max(latest.get(line, -1), place[copy.message_id])
    return inversions
