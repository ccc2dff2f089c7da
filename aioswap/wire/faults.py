"""An `ExceptionPayload` from an exception: without the secrets it may quote, and never too large.

Nova masks nothing and bounds nothing; a fault goes to everybody who listens. Source: nova
`notifications/objects/exception.py`, `compute/utils.py` `_get_fault_and_priority_from_exception`.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from aioswap.wire.payloads import ExceptionPayload

__all__ = ["FAULT_BYTES", "fault_payload", "mask"]

FAULT_BYTES: Final = 16 << 10
"""What a fault adds to an encoded body, at most."""

_NAME_BYTES: Final = 256
_MESSAGE_BYTES: Final = 4 << 10
_TRACEBACK_BYTES: Final = 10 << 10
_EXAMINED: Final = 16 << 10
"""Characters at each end of a text that are looked at: masking costs time."""

_MASK: Final = "***"

# Every expression below takes time that is linear in the text: what repeats is bounded or possessive, or something that always
# matches follows it, and nothing that repeats comes before the first fixed letters.
_WORDS: Final = (
    r"(?:pass(?:word|wd|phrase|code)|(?:(?<![a-z])|(?<=admin))pass(?![a-z])|(?<![a-z])pwd|secret|token|credential"
    r"|(?:api|auth|access|private|encryption|fernet|signing|ssh)[_-]?key|authorization|cookie)"
)
_QUOTED: Final = (
    r'''[bru]{0,2}(?:"""(?:[^"\\]|\\.)*+"*+|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|'''
    r"""\\+["'][^\n]*?(?:\\+["']|(?=\n)|\Z))"""
)
_SPACE: Final = r"(?:\s|\\[trn]){0,8}"
_SEVERAL: Final = r"[\[({][^\])}]*+[\])}]?"
_BARE: Final = r"""(?:[^\s,;&"')}\]]|[,;"')}\]](?=\w))++"""


class _Rule(NamedTuple):
    """What is looked for, in texts that hold one of the needles in whatever case."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str] = rf"\1{_MASK}"


_NAMED: Final = re.compile(_WORDS, re.IGNORECASE)
_NAMES: Final = ("pass", "pwd", "secret", "token", "credential", "key", "authorization", "cookie")
_RULES: Final = (
    # a private key as files hold it
    _Rule(
        ("-----begin",),
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
        _MASK,
    ),
    # scheme://user:password@host, and the several hosts of an oslo.messaging URL
    _Rule(("://",), re.compile(r"(?<=://)\S++"), lambda match: _mask_address(match[0])),
    # HTTP headers that hold nothing else
    _Rule(
        ("authorization", "cookie"),
        re.compile(r"((?:authorization|cookie)\s{0,8}[:=]\s{0,8})(?![\s\"'])[^\r\n\"']++", re.IGNORECASE),
    ),
    _Rule(("bearer",), re.compile(r"(\bbearer\s{1,8})[\w.~+/=-]++", re.IGNORECASE)),
    # --password secret
    _Rule(
        ("--",),
        re.compile(rf"(?<![\w-])(--[\w-]++)(\s{{1,8}})(?!--)(?:{_QUOTED}|{_BARE})"),
        lambda match: f"{match[1]}{match[2]}{_MASK}" if _NAMED.search(match[1], 0, 200) else match[0],
    ),
    # <password>secret</password>
    _Rule(_NAMES, re.compile(rf"({_WORDS}[\w.-]{{0,40}}>)[^<]++", re.IGNORECASE)),
    # password=secret, "password": "secret", 'password': b'secret', ('password', 'secret'), {\"password\": \"secret\"}
    _Rule(
        _NAMES,
        re.compile(
            rf"""({_WORDS}[\w.-]{{0,40}}(?:(?:\\*+["'])?{_SPACE}(?:=>|[:=])|\\*+["']{_SPACE},){_SPACE})"""
            rf"""(?:(?:{_QUOTED})++|{_SEVERAL}|{_BARE})""",
            re.IGNORECASE,
        ),
    ),
)


def _mask_address(address: str) -> str:
    """Mask all between the first colon, or the begin, and the last `@` of what follows a `://`."""
    login, at, host = address.rpartition("@")
    if not at:
        return address
    user, colon, _ = login.partition(":")
    return f"{user}:{_MASK}@{host}" if colon else f"{_MASK}@{host}"


def mask(text: str) -> str:
    """Return `text` with `***` in place of what looks like a secret.

    Found are passwords in URLs, `key=value`, JSON, Python's reprs and command lines where the key's name tells it, HTTP's
    Authorization and cookies, and private keys. It is a net, not a proof: what has no name is not found.
    """
    lowered = text.lower()
    for rule in _RULES:
        if any(needle in lowered for needle in rule.needles):
            text = rule.pattern.sub(rule.replacement, text)
    return text


def fault_payload(error: BaseException, *, version: str = "1.1") -> ExceptionPayload:
    """Return what a notification tells of `error`: masked, and within `FAULT_BYTES` once it is encoded.

    Args:
        error: what was raised; the innermost frame of its traceback gives the module and the function.
        version: of the payload: 1.0 has no traceback.

    Raises:
        ValueError: there is no such version.
    """
    module, function = _place(error)
    return ExceptionPayload(
        module_name=_clean(module, _NAME_BYTES),
        function_name=_clean(function, _NAME_BYTES),
        exception=_clean(type(error).__name__, _NAME_BYTES),
        exception_message=_clean(_told(lambda: str(error)), _MESSAGE_BYTES),
        # glued by commas, as newer novas do
        traceback=_clean(_told(lambda: ",".join(traceback.format_exception(error))), _TRACEBACK_BYTES),
    ).at_version(version)


def _place(error: BaseException) -> tuple[str, str]:
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return "unknown", "unknown"
    return str(innermost.tb_frame.f_globals.get("__name__", "unknown")), innermost.tb_frame.f_code.co_name


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as failure:  # the error's own code runs here; a fault that cannot be told is told as such
        return f"(not available: {type(failure).__name__})"


def _clean(text: str, limit: int) -> str:
    if len(text) <= 2 * _EXAMINED:
        text = mask(text)
        return _shortened(text, text, len(text), limit)
    # a secret that is cut in two could not be recognised: the words at the cut are left out
    head, tail = text[:_EXAMINED].rsplit(maxsplit=1), text[-_EXAMINED:].split(maxsplit=1)
    return _shortened(mask("".join(head[:-1])), mask("".join(tail[1:])), len(text), limit)


def _shortened(head: str, tail: str, length: int, limit: int) -> str:
    """Return the text whose begin and end are given, or, where it is too large, as much of both as `limit` allows."""
    if head is tail and _size(head) <= limit:
        return head
    note = f" [... shortened, {length} characters in all ...] "
    half = (limit - len(note)) // 2
    begin = _fitting(head[:half], half, lambda text, count: text[:count])
    return begin + note + _fitting(tail[-half:], half, lambda text, count: text[len(text) - count :])


def _fitting(text: str, limit: int, part: Callable[[str, int], str]) -> str:
    """Return the largest part of `text` that fits into `limit` bytes: by halving, since a longer part is never smaller."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(part(text, middle)) <= limit else (low, middle - 1)
    return part(text, low)


def _size(text: str) -> int:
    """Return the bytes that `text` has in a body: it is escaped twice, once for each layer of JSON."""
    return len(json.dumps(json.dumps(text))) - len(json.dumps(json.dumps("")))
