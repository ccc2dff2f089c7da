from __future__ import annotations

import asyncio

import pytest

from aioswap.errors import TransportError
from aioswap.transports.answers import settling, tell, telling
from aioswap.transports.base import Answer, Confirmation


async def ended(answer: Answer | None) -> asyncio.Future[Confirmation]:
    """Return a future that ended with `answer`; None: it was cancelled."""
    future: asyncio.Future[Confirmation] = asyncio.get_running_loop().create_future()
    if answer is None:
        future.cancel()
    else:
        settling(future)(answer)
    return future


@pytest.mark.parametrize("answer", [*Confirmation, TransportError("lost"), ValueError("too large")])
async def test_what_a_future_ends_with_is_told(answer: Answer) -> None:
    told: list[Answer] = []
    telling(told.append)(await ended(answer))

    assert [answer] == told


async def test_a_cancelled_answer_is_trouble_of_the_transport() -> None:
    told: list[Answer] = []
    telling(told.append)(await ended(None))

    assert [TransportError] == [type(answer) for answer in told]


async def test_a_cancelled_future_stays_so() -> None:
    future = await ended(None)
    settling(future)(Confirmation.CONFIRMED)

    assert future.cancelled()


def test_who_cannot_take_an_answer_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    def told(answer: Answer) -> None:
        raise LookupError("password=hunter2")

    tell(told, Confirmation.CONFIRMED)

    assert "the broker's answer could not be taken" in caplog.text
    assert "LookupError" in caplog.text
    assert "hunter2" not in caplog.text
