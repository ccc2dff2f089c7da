"""Who owns a session's task: it is started here, awaited here, and cancelled by nobody else."""

from __future__ import annotations

import asyncio
import logging

import anyio

from aioswap.tracking.session import Session

__all__ = ["Owner"]

_logger = logging.getLogger(__name__)


class Owner:
    """Runs a session in a task of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task = asyncio.create_task(session.run(), name="aioswap tracker")

    async def bound(self) -> None:
        """Wait until the session listens.

        Raises:
            BaseException: what has ended it before.
        """
        await asyncio.wait((self._task, self._session.bound), return_when=asyncio.FIRST_COMPLETED)
        if not self._session.bound.done():
            self.check()

    def check(self) -> None:
        """Raise what has ended the task before its time.

        Raises:
            RuntimeError: somebody cancelled it.
            BaseException: what it raised.
        """
        if self._task.cancelled():
            raise RuntimeError("the tracker's task was cancelled from outside: cancel who runs the tracker instead")
        self._task.result()

    async def leave(self) -> None:
        """Let the session end, and wait for that. Cancelling cuts it off: it is waited for all the same."""
        self._session.end()
        if not self._session.bound.done():
            self._task.cancel()
        interrupted: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):  # a cancelled scope around us lets what is open be closed, too
            while not self._task.done():
                try:
                    await asyncio.wait((self._task,))
                except asyncio.CancelledError as error:
                    interrupted = error
                    self._task.cancel()
        if not self._task.cancelled() and (failure := self._task.exception()) is not None:
            _logger.debug("the tracker's task ended with %r", failure)
        if interrupted is not None:
            raise interrupted
