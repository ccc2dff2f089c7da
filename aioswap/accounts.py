"""What is kept of one swap's key, and the signs that wait for a start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from aioswap.attempts import STATES, Attempt, attempts_of
from aioswap.evidence import Heard, Subject, SwapKey
from aioswap.swaps import SwapState

__all__ = ["Account", "Signs", "Told"]

_SIGNS: Final = 10_000
_SIGNS_FOR: Final = timedelta(hours=1)
"""How many signs wait for the start that they belong to, and for how long."""
_SIGNS_OF_A_KEY: Final = 64


class Told(NamedTuple):
    """What was told of an attempt last."""

    state: SwapState
    heard: tuple[Heard, ...]
    due: datetime | None


class Account:
    """What is kept of one key."""

    __slots__ = ("attempts", "due", "heard", "key", "number", "signs", "told")

    def __init__(self, key: SwapKey, number: int, signs: Iterable[Heard]) -> None:
        self.key = key
        self.number = number
        self.heard: list[Heard] = []
        self.signs = sorted(signs, key=lambda sign: sign.arrival)
        self.attempts: list[Attempt] = []
        self.told: dict[str, Told] = {}
        self.due: datetime | None = None

    def add(self, *, heard: Iterable[Heard] = (), sign: Heard | None = None) -> None:
        """Take in what was heard, and see what attempts there are now."""
        self.heard += heard
        if sign is not None and all(sign.message_id != other.message_id for other in self.signs):
            self.signs.append(sign)
        del self.signs[1 : max(1, len(self.signs) - _SIGNS_OF_A_KEY + 1)]
        self.attempts = attempts_of(self.key, self.heard, self.signs)

    def shorten(self) -> Heard:
        """Forget what matters least of the only attempt: a phase that says nothing, else the second notification."""
        later = self.attempts[0].heard[1:]
        least = next((one for one in later if one.phase not in STATES), later[0])
        self.heard.remove(least)
        self.add()
        return least


class Signs:
    """The latest signs, by what they are about: a start may arrive after them."""

    def __init__(self) -> None:
        self._by_subject: dict[Subject, dict[str, Heard]] = {}
        self._order: deque[tuple[Subject, Heard]] = deque()

    def add(self, subject: Subject, sign: Heard) -> bool:
        """Keep `sign`, and forget those that are too old or too many. False: it is a duplicate."""
        known = self._by_subject.setdefault(subject, {})
        if sign.message_id in known:
            return False
        known[sign.message_id] = sign
        self._order.append((subject, sign))
        while len(self._order) > _SIGNS or self._order[0][1].arrived <= sign.arrived - _SIGNS_FOR:
            self._forget(*self._order.popleft())
        return True

    def about(self, subject: Subject, arrived: datetime) -> Iterator[Heard]:
        """Give the signs about `subject` that are still kept at `arrived`."""
        signs = self._by_subject.get(subject, {}).values()
        return (sign for sign in signs if sign.arrived > arrived - _SIGNS_FOR)

    def _forget(self, subject: Subject, sign: Heard) -> None:
        known = self._by_subject[subject]
        del known[sign.message_id]
        if not known:
            del self._by_subject[subject]
