"""How the answers of a broker reach whoever sent the messages: the same for every transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from aioswap.errors import TransportError
from aioswap.transports.base import Answer, Confirmation
from aioswap.wire.faults import traceback_of

__all__ = ["settling", "tell", "telling"]

_logger = logging.getLogger(__name__)


def settling(future: asyncio.Future[Confirmation]) -> Callable[[Answer], None]:
    """Return what ends `future` with an answer; one that was cancelled stays so."""
    return partial(_settle, future)


def telling(told: Callable[[Answer], None]) -> Callable[[asyncio.Future[Confirmation]], None]:
    """Return a callback for what `Sender.send` returns: it tells `told` how that ended."""
    return partial(_told, told)


def tell(told: Callable[[Answer], None], answer: Answer) -> None:
    """Tell an answer. Never raises."""
    try:
        told(answer)
    except Exception as error:  # whoever sent it is at fault: its failure must not end the connection
        _logger.error("the broker's answer could not be taken\n%s", traceback_of(error))


def _told(told: Callable[[Answer], None], future: asyncio.Future[Confirmation]) -> None:
    try:
        answer: Answer = future.result()
    except (Exception, asyncio.CancelledError) as error:  # whatever it is, it is told
        answer = error if isinstance(error, Exception) else TransportError("the answer was cancelled")
    tell(told, answer)


def _settle(future: asyncio.Future[Confirmation], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, Confirmation):
        future.set_result(answer)
    else:
        future.set_exception(answer)
