"""What is known of a swap, as one value, what it is asked for by, and the errors that it may be raised as."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from aioswap.errors import AioswapError
from aioswap.wire.faults import mask
from aioswap.wire.payloads import ExceptionPayload

__all__ = ["Criteria", "Swap", "SwapFailed", "SwapState", "SwapStuck"]

_MASKED: Final = 4096
_SHOWN: Final = 1024
"""Characters of a fault's message that are masked, and those that an error's text shows."""


class SwapState(StrEnum):
    """What is known of a swap."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STUCK = "stuck"
    """It runs for too long. A verdict of ours, never on the bus; a late terminal notification ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One attempt to swap a volume pair on an instance, as it was known at one moment."""

    source: str
    """Who swaps: the publisher ids' part before the colon, `nova-compute` for Nova's."""
    host: str | None
    """That of the latest start, or of the first notification where no start was seen. None: the publisher id names none."""
    instance: str
    """The instance's uuid."""
    old_volume_id: str
    """The volume that was attached."""
    new_volume_id: str
    """The volume that takes its place. In a migration by Cinder it is temporary: Cinder gives it the old id afterwards."""
    request_id: str | None
    """Nova's."""
    global_request_id: str | None
    """The id that the caller of Cinder or Nova holds."""
    project_id: str | None
    """The instance's project."""
    state: SwapState
    """What is known of it, at that moment."""
    started_at: datetime | None
    """The first start's timestamp, by the publisher's clock. None: no start was seen."""
    finished_at: datetime | None
    """The timestamp of the notification that says the end, by its publisher's clock."""
    duration: timedelta | None
    """From start to finish. None where one is missing, or where they come from two publishers: their clocks may disagree."""
    fault: ExceptionPayload | None = field(hash=False)
    """Why it failed; None: it did not, or nothing was told."""
    inferred: str | None
    """Why it is taken to have failed although no `.error` was seen. None: what the state says was really seen."""
    late: bool
    """The terminal notification came when the swap was overdue already."""
    evidence: tuple[str, ...]
    """The ids of the notifications that the verdict follows from, in order."""
    deaf: tuple[tuple[datetime, datetime], ...]
    """Spans of its life, begin and end, in which nobody listened: something may have been missed."""
    effective_volume_id: str | None
    """The volume that the instance has after a success, as block devices in `.end` show it. None: not shown, never a guess."""
    first_seen: datetime
    """The first arrival, by the listener's clock."""
    last_seen: datetime
    """The last arrival, by the listener's clock."""
    others: tuple[Swap, ...] = ()
    """The other attempts that were waited for together with this one."""

    def raise_for_state(self) -> None:
        """Return if the swap succeeded.

        Raises:
            SwapFailed: it failed, or is taken to have failed.
            SwapStuck: it runs for too long.
            RuntimeError: it still runs.
        """
        if self.state is SwapState.FAILED:
            raise SwapFailed(self)
        if self.state is SwapState.STUCK:
            raise SwapStuck(self)
        if self.state is SwapState.RUNNING:
            raise RuntimeError(f"{_named(self)} still runs: wait for it before asking how it ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What holds for a swap that is asked for. None: anything.

    Args:
        instance: the instance's uuid.
        old: the old volume's id.
        new: the new volume's id.
        request_id: Nova's request id.
        global_request_id: the caller's request id; several swaps may have it.
        since: the first notification arrived then or later; aware.

    Raises:
        ValueError: `since` is naive.
    """

    instance: str | None = None
    old: str | None = None
    new: str | None = None
    request_id: str | None = None
    global_request_id: str | None = None
    since: datetime | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError(f"since={self.since} is naive: give an aware moment")

    @classmethod
    def of(cls, swap: Swap) -> Self:
        """Return what holds for `swap` and its namesakes."""
        return cls(instance=swap.instance, old=swap.old_volume_id, new=swap.new_volume_id, request_id=swap.request_id)

    def narrow(self) -> Self:
        """Return itself, if it asks for less than everything.

        Raises:
            TypeError: it does not.
        """
        if not any(value is not None for name, value in self.as_arguments().items() if name != "since"):
            raise TypeError("say which swap: give at least one of instance, old, new, request_id, global_request_id")
        return self

    def as_arguments(self) -> dict[str, Any]:
        """Return it as `SwapLedger.find` takes it."""
        return {name: getattr(self, name) for name in self.__slots__}

    def match(self, swap: Swap) -> bool:
        """Say whether everything holds for `swap`."""
        return (
            self.instance in (None, swap.instance)
            and self.old in (None, swap.old_volume_id)
            and self.new in (None, swap.new_volume_id)
            and self.request_id in (None, swap.request_id)
            and self.global_request_id in (None, swap.global_request_id)
            and (self.since is None or swap.first_seen >= self.since)
        )


class SwapFailed(AioswapError):
    """A swap failed, or is taken to have failed."""

    swap: Swap
    """What is known of it."""

    def __init__(self, swap: Swap) -> None:
        super().__init__(swap)
        self.swap = swap

    def __str__(self) -> str:
        inferred = f" (inferred from {self.swap.inferred})" if self.swap.inferred else ""
        fault = self.swap.fault
        why = f"{fault.exception}: {fault.exception_message}" if fault else "no fault was told"
        return f"{_named(self.swap)} failed{inferred}: {mask(why[:_MASKED])[:_SHOWN]}"


class SwapStuck(AioswapError):
    """A swap runs for too long."""

    swap: Swap
    """What is known of it."""

    def __init__(self, swap: Swap) -> None:
        super().__init__(swap)
        self.swap = swap

    def __str__(self) -> str:
        return f"{_named(self.swap)} is stuck: nothing was heard of it since {self.swap.last_seen.isoformat(' ', 'seconds')}"


def _named(swap: Swap) -> str:
    return f"the swap {swap.old_volume_id} -> {swap.new_volume_id} of instance {swap.instance}"
