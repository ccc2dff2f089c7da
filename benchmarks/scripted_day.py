"""The script of a busy cloud's day: its swaps, and what is told of them and of other things. `recorded_day` plays it.

Most swaps are Cinder migrations, and half of them show block devices. Some fail, some without a word, some are deleted with
their instances or never end; what is told arrives late, twice, or not at all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from aioswap.swaps import SwapState
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from aioswap.wire.times import write_timestamp
from tests.swap_kit import at, captured

SWAPS, FOREIGN, DAY, LONGEST = 10_000, 200_000, 86_400.0, 3000.0
INSTANCES, HOSTS = 4_000, 200
FATES = {"failed": 200, "failed silently": 100, "deleted": 50, "never ended": 50}
"""How many swaps go wrong, and how; the others succeed."""
FOREIGN_SHARES = {
    "service.update": 35,
    "instance.update": 30,
    "instance.exists": 15,
    "instance.volume_attach.end": 10,
    "instance.create.end": 5,
    "instance.delete.end": 3,
    "compute.exception": 2,
}
MARKS, MARKED = ("<message>", "<instance>", "<request>", "<publisher>"), at(-1.5)
WORDS = ("start", "end", "error", "exception", "delete")


def ident(what: int, number: int) -> str:
    """Return a UUID: the same for the same numbers."""
    return str(UUID(int=(what << 96) | (number * 0x9E3779B97F4A7C15)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """How a swap goes: the truth. Seconds are those of the day."""

    number: int
    fate: str
    instance: str
    host: int
    migrated: bool
    shown: bool
    """Its notifications have block devices."""
    identified: bool
    """Nova's request id stands in them."""
    heard: bool
    """Its start comes through."""
    started: float
    ended: float | None
    sign: str | None
    signed: float

    @property
    def old(self) -> str:
        """The old volume."""
        return ident(2, self.number)

    @property
    def new(self) -> str:
        """The new volume."""
        return ident(3, self.number)

    @property
    def final(self) -> str:
        """The volume that the instance has after a success."""
        return self.old if self.migrated else self.new

    def moment(self, seconds: float) -> datetime:
        """Return what the host's clock shows; that of every tenth host is two hours off."""
        return at(seconds + (7200 if self.host % 10 == 0 else 0))

    def message_id(self, word: str) -> str:
        """Return the id of one of its notifications."""
        return ident(10 + WORDS.index(word), self.number)

    def words(self) -> Iterator[tuple[str, float]]:
        """Give what is told of it, and when, in order of time."""
        yield "start", self.started
        if self.sign is not None:
            yield self.sign, self.signed
        if self.ended is not None:
            yield "error" if self.fate == "failed" else "end", self.ended

    def verdict(self) -> dict[str, object]:
        """Return what has to be said of it in the end."""
        words = dict(self.words())
        last = next((word for word in ("end", "error", "exception", "delete") if word in words), None)
        state = {"end": SwapState.SUCCEEDED, None: SwapState.STUCK}.get(last, SwapState.FAILED)
        evidence = [word for word in ("start", last) if word is not None and (word != "start" or self.heard)]
        return {
            "state": state,
            "inferred": last in ("exception", "delete"),
            "late": False,
            "started_at": self.moment(self.started) if self.heard else None,
            "finished_at": None if last is None else self.moment(words[last]),
            "effective_volume_id": self.final if last == "end" and self.shown else None,
            "evidence": tuple(self.message_id(word) for word in evidence),
            "deaf": (),
            "host": f"compute-{self.host}",
        }


def scripted(rng: random.Random) -> list[Scripted]:
    """Make up the day's swaps."""
    fates = [fate for fate, count in FATES.items() for _ in range(count)]
    fates += ["succeeded"] * (SWAPS - len(fates))
    rng.shuffle(fates)
    return [one_scripted(rng, number, fate) for number, fate in enumerate(fates)]


def one_scripted(rng: random.Random, number: int, fate: str) -> Scripted:
    """Make up one swap. A third of the failures are told by an exception too, a third by a delete, up to 20 s before."""
    started = rng.uniform(60, DAY - LONGEST - 60)
    took = min(max(rng.lognormvariate(4.5, 1.2), 2.0), LONGEST)
    sign = {"failed silently": "exception", "deleted": "delete"}.get(fate)
    signed = started + took
    if fate == "failed":
        sign = rng.choice((None, "exception", "delete"))
        signed -= min(took / 2, rng.uniform(0, 20))
    migrated, ended = rng.random() < 0.9, fate in ("succeeded", "failed")
    return Scripted(
        number=number,
        fate=fate,
        instance=ident(1, INSTANCES + number if sign == "delete" else rng.randrange(INSTANCES)),
        host=rng.randrange(HOSTS),
        migrated=migrated,
        shown=rng.random() < 0.5,
        identified=sign == "exception" or rng.random() < 0.95,
        heard=not ended or rng.random() >= 0.01,
        started=started,
        ended=started + took if ended else None,
        sign=sign,
        signed=signed,
    )


def arrivals(rng: random.Random, swaps: list[Scripted], troubles: Counter[str]) -> list[tuple[float, int, str]]:
    """Return when which notification of which swap arrives: some late, some twice, some never."""
    arriving = []
    for swap in swaps:
        words = list(swap.words())
        for word, moment in words:
            arrival = moment + rng.uniform(0.01, 0.5)
            if word == "start" and not swap.heard:
                troubles["lost starts"] += 1
                continue
            if word == "start" and len(words) > 1 and rng.random() < 0.03:
                troubles["starts behind what follows"] += 1
                arrival = words[-1][1] + rng.uniform(1, 30)
            arriving.append((arrival, swap.number, word))
            if rng.random() < 0.03:
                troubles["duplicates"] += 1
                arriving.append((arrival + rng.uniform(0, 600), swap.number, word))
    return sorted(arriving)


def routing_key(notification: Notification[Any]) -> str:
    """Return what Nova publishes it with."""
    return f"versioned_notifications.{notification.priority.lower()}"


def told(swap: Scripted, word: str) -> Notification[Any]:
    """Return a notification of a swap, made from a captured one."""
    if word == "exception":
        base = captured("nova34-others__compute.exception")
        payload = base.payload
    elif word == "delete":
        base = captured("nova34-others__instance.delete.end")
        payload = base.payload.model_copy(update={"uuid": swap.instance})
    else:
        base = captured(f"nova34-v2-{'full' if swap.shown else 'default'}__instance.volume_swap.{word}")
        volume = swap.final if word == "end" else swap.old
        devices = [device.model_copy(update={"volume_id": volume}) for device in base.payload.block_devices or ()]
        update = {"uuid": swap.instance, "old_volume_id": swap.old, "new_volume_id": swap.new}
        payload = base.payload.model_copy(update={**update, "block_devices": devices if swap.shown else None})
    request_id = f"req-{ident(4, swap.number)}" if swap.identified and word != "delete" else None
    return replace(
        base,
        message_id=swap.message_id(word),
        publisher_id=f"nova-compute:compute-{swap.host}",
        timestamp=swap.moment(dict(swap.words())[word]),
        payload=payload,
        context={**base.context, "request_id": request_id, "global_request_id": f"req-{ident(5, swap.number)}"},
    )


@cache
def template(event_type: str) -> tuple[str, bytes]:
    """Return a routing key, and an encoded notification of something else, made from a captured one with marks for ids."""
    base = captured(f"nova34-others__{event_type}")
    payload = base.payload.model_copy(update={"uuid": MARKS[1]} if hasattr(base.payload, "uuid") else {})
    context = {**base.context, "request_id": MARKS[2]}
    marked = replace(base, message_id=MARKS[0], publisher_id=MARKS[3], timestamp=MARKED, payload=payload, context=context)
    return routing_key(marked), encode(marked)


def foreign(number: int, seconds: float, event_type: str) -> tuple[str, bytes]:
    """Return a routing key, and an encoded notification of something else with ids and a time of its own."""
    key, body = template(event_type)
    ids = ident(6, number), ident(7, number), f"req-{ident(8, number)}", f"nova-compute:compute-{number % HOSTS}"
    for mark, value in zip((*MARKS, write_timestamp(MARKED)), (*ids, write_timestamp(at(seconds))), strict=True):
        body = body.replace(mark.encode(), value.encode())
    return key, body


def foreign_arrivals(rng: random.Random) -> Iterator[tuple[float, int, str]]:
    """Give when what else arrives; its numbers are below zero."""
    names, shares = list(FOREIGN_SHARES), list(FOREIGN_SHARES.values())
    for number in range(FOREIGN):
        yield (number + rng.random()) * DAY / FOREIGN, -1 - number, rng.choices(names, shares)[0]
