"""How the answers of a broker reach whoever sent the messages: the same for every transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from aioswap.transports.base import Answer, Confirmation
from aioswap.wire.faults import traceback_of

__all__ = ["settling", "tell"]

_logger = logging.getLogger(__name__)


def settling(future: asyncio.Future[Confirmation]) -> Callable[[Answer], None]:
    """Return what ends `future` with an answer; one that was cancelled stays so."""
    return partial(_settle, future)


def tell(told: Callable[[Answer], None], answer: Answer) -> None:
    """Tell an answer. Never raises."""
    try:
        told(answer)
    except Exception as error:  # whoever sent it is at fault: its failure must not end the connection
        _logger.error("the broker's answer could not be taken\n%s", traceback_of(error))


def _settle(future: asyncio.Future[Confirmation], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, Confirmation):
        future.set_result(answer)
    else:
        future.set_exception(answer)
