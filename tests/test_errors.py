"""The tree of exceptions: who is at fault."""

from __future__ import annotations

import pytest

from aioswap import errors
from aioswap.errors import AioswapError, DecodeError, OutboxError, OutboxFull, TransportError, UnsupportedVersion


@pytest.mark.parametrize("name", errors.__all__)
def test_every_exception_is_of_one_tree(name: str) -> None:
    assert issubclass(getattr(errors, name), AioswapError)


@pytest.mark.parametrize(
    ("error", "also"),
    [(DecodeError, ValueError), (UnsupportedVersion, DecodeError), (OutboxFull, OutboxError), (TransportError, AioswapError)],
)
def test_an_exception_can_be_caught_as_what_it_is_also(error: type[Exception], also: type[Exception]) -> None:
    assert issubclass(error, also)


@pytest.mark.parametrize("error", [DecodeError, UnsupportedVersion])
def test_a_body_that_cannot_be_read_is_kept_and_never_shown(error: type[DecodeError]) -> None:
    raised = error("no JSON at 3", body=b"secret")

    assert b"secret" == raised.body
    assert "no JSON at 3" == str(raised)
    assert "secret" not in repr(raised)
    assert b"" == error("no body").body
