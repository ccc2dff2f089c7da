"""What a receiver listens to, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Subscription"]


def _everything(body: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a receiver listens to, and how.

    Args:
        pool: the consumers that share one queue; 1 to 64 of `[A-Za-z0-9_-]`. None: an own queue, gone after a clean exit.
        topics: at least one.
        priorities: lower case, as in routing keys; at least one.
        wanted: may this body hold a notification that somebody here wants? A body that is not is acknowledged and counted,
            never delivered. It is called with the uncompressed body, and must be quick and never raise. What comes by the
            pool's own exchange (a retry, a replay) is delivered unasked: its handler may be gone, and somebody must tell.
        prefetch: deliveries unsettled at a time, 1 to 65,535; foreign ones do not count for longer than a loop turn.
        quorum: a replicated queue: recommended on clusters.
        single_active: one consumer of the pool at a time (RabbitMQ: x-single-active-consumer), for order across processes.
        shared: read oslo's default queues `<topic>.<priority>`, and so take from whoever else reads them.

    Raises:
        ValueError: one of the values is outside its range.
    """

    pool: str | None = None
    topics: Sequence[str] = ("versioned_notifications",)
    priorities: Sequence[str] = ("info", "error")
    wanted: Callable[[bytes], bool] = _everything
    prefetch: int = 100
    quorum: bool = False
    single_active: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
        if self.pool is not None and not (1 <= len(self.pool) <= 64 and allowed.issuperset(self.pool)):
            raise ValueError(f"pool {self.pool!r}: give 1 to 64 of the letters A-Z, a-z, the digits, `_` and `-`")
        if not 1 <= self.prefetch <= 65_535:
            raise ValueError(f"prefetch={self.prefetch}: give 1 to 65535; 0 would mean no bound at all")
        if isinstance(self.topics, str) or isinstance(self.priorities, str) or not (self.topics and self.priorities):
            raise ValueError("topics and priorities are lists with at least one name each")
