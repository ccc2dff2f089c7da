"""What `health()` answers: plain values, cheap enough for a probe, and never a secret."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ConsumerHealth", "EmitterHealth", "LinkHealth", "TrackerHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHealth:
    """One connection of a transport, for sending or for receiving."""

    connected: bool = False
    """The connection is made, and ready for its work."""
    blocked: bool = False
    """The broker has stopped taking messages (memory or disk alarm)."""
    degraded: str | None = None
    """The first cause of the trouble that goes on now, with its remedy; None: no trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterHealth:
    """An emitter, its outbox and its sending connection. Counters count since it was made."""

    link: LinkHealth = field(default_factory=LinkHealth)
    """The sending connection."""
    running: int = 0
    """Swaps between their start and their terminal notification."""
    accepted: int = 0
    """Messages taken by the outbox: one for each notification and topic."""
    confirmed: int = 0
    """Messages that the broker has confirmed."""
    backlog: int = 0
    """Messages accepted, not yet confirmed and not parked."""
    oldest_age: float = 0.0
    """Seconds since the oldest message of the backlog was accepted."""
    parked: int = 0
    """Messages that the broker refuses, kept aside."""
    unsaved: int = 0
    """Messages of the backlog that would not survive this process although its outbox keeps files."""
    foreign_files: int = 0
    """Files in the outbox's directory whose owner is gone and that wait for another destination: `aioswap outbox list`."""
    damaged_files: int = 0
    """Files of the outbox that were damaged and set aside."""
    trouble: str | None = None
    """Why the outbox's files can't be written now; None: no trouble, or no files."""
    untold: int = 0
    """Swaps that ran without any notification."""
    lost_at_exit: int = 0
    """Messages that a memory outbox still held when the emitter was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHealth:
    """A consumer and its receiving connection. Counters count since it was made."""

    link: LinkHealth = field(default_factory=LinkHealth)
    """The receiving connection."""
    received: int = 0
    """Deliveries that might be wanted and were parsed."""
    skipped: int = 0
    """Foreign notifications, acknowledged."""
    in_flight: int = 0
    """Deliveries not yet settled."""
    handled: int = 0
    """Deliveries acknowledged after handling."""
    duplicates: int = 0
    """Deliveries that were handled before, acknowledged without handling."""
    retried: int = 0
    """Deliveries of which a copy is to come again later."""
    dead_letters: int = 0
    """Deliveries that became dead letters."""
    queue_depth: int | None = None
    """Messages ready in the consumer's queue when last seen; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerHealth:
    """A tracker, its receiving connections and its history. Counters count since it was made."""

    links: tuple[LinkHealth, ...] = ()
    """One for each transport, in their order."""
    received: int = 0
    """Deliveries that might say something about swaps and were parsed."""
    skipped: int = 0
    """Foreign notifications, acknowledged."""
    unreadable: int = 0
    """Deliveries that might have said something and could not be read: logged and acknowledged."""
    running: int = 0
    """Swaps that run, as last seen. Stuck ones are not among them."""
    stuck: int = 0
    """Swaps that run for longer than the tracker's `stuck_after`, as last seen."""
    evicted: int = 0
    """Attempts that memory has forgotten to make room. The history, if there is one, still knows them."""
    unsaved: int = 0
    """Changes that wait to be written to the history."""
    lost: int = 0
    """Changes that the history never got, for its disk failed."""
    trouble: str | None = None
    """Why the history can't be written now; None: no trouble, or no history."""
