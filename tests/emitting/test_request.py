from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aioswap.emitting.request import SwapRequest, describe_by_name, require_coroutine_function, require_describe

WHO = {"request_id": "req-1"}


async def nova_shaped(context: Any, old_volume_id: str, new_volume_id: str, instance: Any, new_attachment_id: str) -> None: ...


async def keyword_only(*, new_volume_id: str, old_volume_id: str, instance: Any) -> None: ...


async def with_defaults(instance: Any, /, old_volume_id: str = "old", new_volume_id: str = "new", *rest: Any) -> None: ...


class Service:
    async def swap(self, instance: Any, old_volume_id: str, new_volume_id: str) -> None: ...


async def no_ids(context: Any, instance: Any, src: str, dst: str) -> None: ...


def plain(instance: Any, old_volume_id: str, new_volume_id: str) -> None: ...


async def generator(instance: Any, old_volume_id: str, new_volume_id: str) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (nova_shaped, (WHO, "old", "new", "vm", "att"), {}, SwapRequest("vm", "old", "new", WHO)),
        (nova_shaped, (WHO, "old"), {"instance": "vm", "new_volume_id": "new"}, SwapRequest("vm", "old", "new", WHO)),
        (keyword_only, (), {"instance": "vm", "old_volume_id": "old", "new_volume_id": "new"}, SwapRequest("vm", "old", "new")),
        (with_defaults, ("vm",), {}, SwapRequest("vm", "old", "new")),
        (with_defaults, ("vm", "o", "n", "x"), {}, SwapRequest("vm", "o", "n")),
        (Service.swap, ("self", "vm", "old", "new"), {}, SwapRequest("vm", "old", "new")),
    ],
)
def test_a_call_is_described_by_the_names_of_its_parameters(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: SwapRequest
) -> None:
    assert expected == describe_by_name(function)(args, kwargs)


def test_a_missing_parameter_is_a_type_error_that_lists_what_was_found() -> None:
    with pytest.raises(
        TypeError, match=r"no_ids has no parameter old_volume_id, new_volume_id: found \(context, instance, src"
    ):
        describe_by_name(no_ids)


def test_a_call_without_an_id_cannot_be_described() -> None:
    with pytest.raises(TypeError, match="without new_volume_id"):
        describe_by_name(nova_shaped)(("ctx", "old"), {"instance": "vm"})


@pytest.mark.parametrize(("function", "kind"), [(plain, "function"), (generator, "an async generator"), (3, "int")])
def test_what_is_no_coroutine_function_is_refused(function: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"is {kind}, not a coroutine function"):
        require_coroutine_function(function)


def test_a_partial_of_a_coroutine_function_is_one() -> None:
    require_coroutine_function(functools.partial(nova_shaped, "ctx"))


@pytest.mark.parametrize("describe", [nova_shaped, generator, None])
def test_describe_is_a_plain_function(describe: Any) -> None:
    with pytest.raises(TypeError, match="give a plain function"):
        require_describe(describe)


def test_a_plain_function_can_describe() -> None:
    require_describe(plain)
