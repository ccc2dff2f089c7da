"""Secrets in texts: what looks like one is replaced. A net, not a proof."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Mask", "mask", "masking"]

Mask: TypeAlias = Callable[[str], str]
"""Returns a text without its secrets. It must be quick: a fault is masked within the time of its swap."""

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


def masking(own: Mask | None) -> Mask:
    """Return `mask`, followed by `own`, which knows secrets that nobody else does. A text that `own` fails at is not shown."""
    if own is None:
        return mask

    def both(text: str) -> str:
        text = mask(text)
        try:
            return str(own(text))
        except (
            Exception
        ) as failure:  # the user's code: its failure must let no secret out, nor break what is told; it stands in the text
            return f"(not shown: the mask failed with {type(failure).__name__})"

    return both
