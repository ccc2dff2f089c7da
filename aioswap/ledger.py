"""The ledger of swaps: notifications and moments go in, what changed comes out. It reads no clock and waits for nothing.

What a verdict is stands in `aioswap.attempts`; here is what is kept, for how long, and when a verdict changes by time alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from aioswap.accounts import Account, Signs, Told
from aioswap.attempts import Attempt, Span, with_span
from aioswap.evidence import Heard, Subject, SwapKey, hear, key_of, subject_of, subjects_of
from aioswap.swaps import Swap, SwapState
from aioswap.wire.notification import Notification

__all__ = ["SwapLedger"]

_LONGEST: Final = 3_155_760_000.0
"""A century, in seconds: longer limits would leave a datetime's range."""
_HEARD_OF_A_KEY: Final = 128
_FORGOTTEN: Final = 10_000
"""Ids of notifications that are no longer kept, by which their duplicates are still known."""
_SPANS: Final = 100
_OPEN: Final = (SwapState.RUNNING, SwapState.STUCK)
_FINISHED: Final = (SwapState.SUCCEEDED, SwapState.FAILED)


class SwapLedger:
    """Pairs starts with ends: what is known of every swap that was heard of, within bounds.

    Moments are arguments, aware, by the listener's clock; they should not go back. Notifications may come in any order and
    more than once. Of attempts that were evicted nothing is known any more: what still comes of them begins anew, unless
    `restore` brings them back before; `lacks` says when to.

    Args:
        stuck_after: seconds from a start's arrival until its swap is stuck; above 0, a century at most.
        keep: how many finished attempts are kept, and how many unfinished ones; the oldest are evicted first. An attempt
            takes those of its key that stand before it along.

    Raises:
        ValueError: `stuck_after` or `keep` is out of range.
    """

    def __init__(self, stuck_after: float = 86_400.0, keep: int = 10_000) -> None:
        if not 0 < stuck_after <= _LONGEST:
            raise ValueError(f"stuck_after={stuck_after!r}: give seconds, above 0 and at most {_LONGEST:.0f}")
        if keep < 1:
            raise ValueError(f"keep={keep!r}: give 1 or more")
        self.observed = 0
        """Notifications that were given."""
        self.ignored = 0
        """Those of them that say nothing about swaps, and duplicates."""
        self.evicted = 0
        """Attempts that were forgotten to make room."""
        self._stuck_after = timedelta(seconds=stuck_after)
        self._keep = keep
        self._latest: datetime | None = None
        self._arrivals = 0
        self._numbers = 0
        self._accounts: dict[SwapKey, Account] = {}
        self._numbered: dict[int, Account] = {}
        self._by_subject: dict[Subject, dict[int, Account]] = {}
        # the state, as told last, of the attempts that are open and of those that are finished, the oldest first: by an
        # account's number and a name
        self._open: dict[tuple[int, str], SwapState] = {}
        self._finished: dict[tuple[int, str], SwapState] = {}
        self._dues: list[tuple[datetime, int]] = []
        self._ids: set[str] = set()
        self._forgotten: dict[str, None] = {}
        self._signs = Signs()
        self._spans: list[Span] = []

    def observe(self, notification: Notification[Any], arrived: datetime) -> list[Swap]:
        """Take in a notification of any event type.

        Args:
            notification: it; what says nothing about swaps is ignored.
            arrived: when it arrived.

        Returns:
            The attempts that changed, as they are known at `arrived`.

        Raises:
            ValueError: `arrived` is naive.
        """
        self._note_time(arrived)
        self.observed += 1
        self._arrivals += 1
        arrival = arrived, self._arrivals
        accounts: list[Account] | None = None
        if key := key_of(notification):
            accounts = self._take(key, hear(notification, arrival))
        elif subject := subject_of(notification):
            accounts = self._take_sign(subject, hear(notification, arrival))
        if accounts is None:
            self.ignored += 1
            return []
        changed = [swap for account in accounts for swap in self._refresh(account, arrived)]
        self._evict()
        return changed

    def tick(self, now: datetime) -> list[Swap]:
        """Return the attempts that changed by time alone, as they are known at `now`: stuck, or taken to have failed.

        Raises:
            ValueError: `now` is naive.
        """
        self._note_time(now)
        changed: list[Swap] = []
        while self._dues and self._dues[0][0] <= now:
            changed += self._refresh(self._numbered[self._dues[0][1]], now)
        self._evict()
        return changed

    def next_due(self) -> datetime | None:
        """Return when `tick` has something to say, if nothing is observed before; None: never."""
        return self._dues[0][0] if self._dues else None

    def deaf(self, begin: datetime, end: datetime) -> None:
        """Note that nobody listened from `begin` to `end`. Spans that touch become one; the last hundred are kept.

        Raises:
            ValueError: a moment is naive, or `end` is before `begin`.
        """
        if begin.tzinfo is None or end.tzinfo is None or end < begin:
            raise ValueError(f"deaf from {begin} to {end}: give aware moments, the earlier one first")
        self._spans = with_span(self._spans, (begin, end))[-_SPANS:]

    def running(self, now: datetime) -> list[Swap]:
        """Return the attempts that run at `now`, the newest last. Stuck ones are not among them."""
        return self._shown(self._unfinished(now, self._stuck_after, SwapState.RUNNING), now, self._stuck_after)

    def stuck(self, now: datetime, older_than: float | None = None) -> list[Swap]:
        """Return the attempts that are stuck at `now`, the newest last.

        Args:
            now: the moment.
            older_than: seconds after which they are judged to be stuck here, 0 to a century; None: `stuck_after`.

        Raises:
            ValueError: `older_than` is out of range.
        """
        if older_than is not None and not 0 <= older_than <= _LONGEST:
            raise ValueError(f"older_than={older_than!r}: give seconds, 0 to {_LONGEST:.0f}")
        limit = self._stuck_after if older_than is None else timedelta(seconds=older_than)
        return self._shown(self._unfinished(now, limit, SwapState.STUCK), now, limit)

    def unfinished(self) -> Mapping[SwapState, int]:
        """Return how many attempts run and how many are stuck, as was told last: `tick` notes what time changes. Cheap.

        Another thread may ask, in the middle of a change, too.
        """
        return Counter(tuple(self._open.values()))

    def find(
        self,
        now: datetime,
        *,
        instance: str | None = None,
        old: str | None = None,
        new: str | None = None,
        request_id: str | None = None,
        global_request_id: str | None = None,
        since: datetime | None = None,
    ) -> list[Swap]:
        """Return the attempts for which everything holds that is given, as they are known at `now`, the newest last.

        They stand in order of arrival of the first notification of each, those of one key in the order of that key.

        Args:
            now: the moment.
            instance: the instance's uuid.
            old: the old volume's id. In a migration by Cinder it is the one that the caller knows.
            new: the new volume's id.
            request_id: Nova's request id.
            global_request_id: the caller's request id; several instances may have it.
            since: the first notification arrived then or later.
        """
        accounts = self._accounts if instance is None else self._by_subject.get(("instance", instance), {})
        given = [(at, value) for at, value in enumerate((None, instance, old, new, request_id)) if value is not None]
        matching = [account for account in accounts.values() if all(account.key[at] == value for at, value in given)]
        found = (
            attempt
            for account in matching
            for attempt in account.attempts
            if (global_request_id is None or attempt.global_request_id == global_request_id)
            and (since is None or attempt.first_seen >= since)
        )
        return self._shown(found, now, self._stuck_after)

    def get(self, request_id: str, now: datetime | None = None) -> Swap | None:
        """Return the newest attempt of a request, None if there is none.

        Args:
            request_id: Nova's request id.
            now: the moment; None: the latest that was given to `observe` or `tick`.
        """
        moment = now or self._latest
        found = [] if moment is None else self.find(moment, request_id=request_id)
        return found[-1] if found else None

    def lacks(self, notification: Notification[Any]) -> SwapKey | None:
        """Return which swap a notification is about if nothing of it is kept: it is new, or was evicted.

        None: it is kept, or the notification is about none, or was heard of before.
        """
        key = key_of(notification)
        return None if key in self._accounts or notification.message_id in self._forgotten else key

    def signed(self, notification: Notification[Any], now: datetime) -> list[Swap]:
        """Return the unfinished attempts that a notification is a sign about, as they are known at `now`.

        What is kept of them has changed, even where nothing follows from the sign yet.
        """
        subject = subject_of(notification)
        accounts = self._by_subject.get(subject, {}).values() if subject else ()
        attempts = (attempt for account in accounts for attempt in account.attempts)
        unfinished = (each for each in attempts if each.judge(now, self._stuck_after).state in _OPEN)
        return self._shown(unfinished, now, self._stuck_after)

    def attempt(self, swap: Swap) -> Attempt | None:
        """Return what is kept of the attempt that `swap` shows; None: nothing, or it has become part of another one."""
        key = SwapKey(swap.source, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id)
        name = swap.evidence[0] if swap.request_id is None else ""
        kept = self._accounts[key].attempts if key in self._accounts else ()
        return next((attempt for attempt in kept if attempt.name == name), None)

    def restore(self, attempts: Iterable[Attempt], now: datetime) -> list[Swap]:
        """Take in what another ledger kept, or what this one has evicted.

        Of attempts that are kept, what is known here already, by the notifications' ids, is left out.

        Args:
            attempts: as `attempt` of the other ledger returned them; those that were heard of first come first.
            now: the moment, aware.

        Returns:
            The attempts that were taken in, as they are known at `now`.

        Raises:
            ValueError: `now` is naive.
        """
        self._note_time(now)
        restored: dict[SwapKey, Account] = {}
        for attempt in attempts:
            if attempt.key in restored or attempt.key not in self._accounts:
                for one in attempt.heard:
                    self._forgotten.pop(one.message_id, None)
            for account in self._take(attempt.key, *attempt.heard) or ():
                restored[attempt.key] = account
                for sign in attempt.signs:
                    account.add(sign=sign)
            # what arrives from here on comes behind
            self._arrivals = max(self._arrivals, *(one.arrival[1] for one in (*attempt.heard, *attempt.signs)))
        changed = [swap for account in restored.values() for swap in self._refresh(account, now)]
        self._evict()
        return changed

    def _note_time(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"{moment} is naive: give an aware moment")
        self._latest = max(moment, self._latest or moment)

    def _take(self, key: SwapKey, *heard: Heard) -> list[Account] | None:
        """Keep what was heard of a swap; None: it was heard before."""
        new = [one for one in heard if one.message_id not in self._ids and one.message_id not in self._forgotten]
        if not new:
            return None
        self._ids.update(one.message_id for one in new)
        account = self._accounts.get(key) or self._new_account(key, new[0].arrived)
        account.add(heard=new)
        while len(account.heard) > _HEARD_OF_A_KEY:
            if len(account.attempts) > 1:
                self._drop(account, 1)
            else:
                self._forget(account.shorten())
        return [account]

    def _new_account(self, key: SwapKey, arrived: datetime) -> Account:
        self._numbers += 1
        subjects = subjects_of(key)
        account = Account(key, self._numbers, (sign for subject in subjects for sign in self._signs.about(subject, arrived)))
        self._accounts[key] = self._numbered[account.number] = account
        for subject in subjects:
            self._by_subject.setdefault(subject, {})[account.number] = account
        return account

    def _take_sign(self, subject: Subject, sign: Heard) -> list[Account] | None:
        """Keep a sign for the attempts that it is about, those that are known and those to come; None: a duplicate."""
        if not self._signs.add(subject, sign):
            return None
        for account in (accounts := list(self._by_subject.get(subject, {}).values())):
            account.add(sign=sign)
        return accounts

    def _refresh(self, account: Account, now: datetime) -> list[Swap]:
        """Judge an account's attempts anew; return those that are no longer as they were told."""
        before, account.told = account.told, {}
        changed = []
        for attempt in account.attempts:
            verdict = attempt.judge(now, self._stuck_after)
            told = account.told[attempt.name] = Told(verdict.state, attempt.heard, verdict.due)
            known = before.pop(attempt.name, None)
            if known is None or known[:2] != told[:2]:
                changed.append(attempt.swap(now, self._stuck_after, self._spans))
                self._shelve(account, attempt.name, verdict.state)
        for name in before:
            self._shelve(account, name, None)
        self._schedule(account)
        return changed

    def _shelve(self, account: Account, name: str, state: SwapState | None) -> None:
        """Put an attempt among the open or the finished ones, at the end if it was not there; None: among none."""
        for shelf, states in ((self._open, _OPEN), (self._finished, _FINISHED)):
            if state in states:
                shelf[account.number, name] = state
            else:
                shelf.pop((account.number, name), None)

    def _schedule(self, account: Account) -> None:
        """Put an account where it belongs among those that wait for time."""
        if account.due is not None:
            del self._dues[bisect_left(self._dues, (account.due, account.number))]
        account.due = min((told.due for told in account.told.values() if told.due is not None), default=None)
        if account.due is not None:
            insort(self._dues, (account.due, account.number))

    def _evict(self) -> None:
        for shelf in (self._open, self._finished):
            while len(shelf) > self._keep:
                number, name = next(iter(shelf))
                account = self._numbered[number]
                self._drop(account, 1 + [attempt.name for attempt in account.attempts].index(name))

    def _drop(self, account: Account, count: int) -> None:
        """Forget an account's first attempts. What is left is cut into attempts as before, since nothing before it matters."""
        for attempt in account.attempts[:count]:
            self.evicted += 1
            account.told.pop(attempt.name, None)
            self._shelve(account, attempt.name, None)
            for one in attempt.heard:
                self._forget(one)
        del account.attempts[:count]
        account.heard = [one for attempt in account.attempts for one in attempt.heard]
        self._schedule(account)
        if not account.attempts:
            del self._accounts[account.key], self._numbered[account.number]
            for subject in subjects_of(account.key):
                del self._by_subject[subject][account.number]
                if not self._by_subject[subject]:
                    del self._by_subject[subject]

    def _forget(self, heard: Heard) -> None:
        self._ids.discard(heard.message_id)
        self._forgotten[heard.message_id] = None
        if len(self._forgotten) > _FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def _unfinished(self, now: datetime, stuck_after: timedelta, state: SwapState) -> list[Attempt]:
        accounts = [self._numbered[number] for number in dict.fromkeys(number for number, _ in self._open)]
        attempts = [attempt for account in accounts for attempt in account.attempts]
        return [attempt for attempt in attempts if attempt.judge(now, stuck_after).state is state]

    def _shown(self, attempts: Iterable[Attempt], now: datetime, limit: timedelta) -> list[Swap]:
        return [attempt.swap(now, limit, self._spans) for attempt in sorted(attempts, key=lambda attempt: attempt.place)]
