"""Who asked: the request context that a notification carries as `_context_*`, and the context variable that holds it.

Source: oslo.context `RequestContext.redacted_copy` and nova `RequestContext.to_dict`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable
from uuid import uuid4

__all__ = ["ContextSource", "HasToDict", "RequestContext", "current_context", "request_context"]


@runtime_checkable
class HasToDict(Protocol):
    """An oslo.context `RequestContext`, or anything else that can tell itself as a mapping."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return the context's values by oslo's names."""
        ...


ContextSource: TypeAlias = "RequestContext | Mapping[str, Any] | HasToDict"

_ALIASES = {
    "user_id": ("user_id", "user"),
    "project_id": ("project_id", "project", "tenant"),
    "domain_id": ("domain_id", "domain"),
    "user_domain_id": ("user_domain_id", "user_domain"),
    "project_domain_id": ("project_domain_id", "project_domain"),
}
_TEXTS = (
    "request_id",
    "global_request_id",
    "user_name",
    "project_name",
    "system_scope",
    "resource_uuid",
    "read_deleted",
)
_FLAGS = ("is_admin", "is_admin_project", "read_only", "show_deleted")


def _new_request_id() -> str:
    return f"req-{uuid4()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Who asked for the swap, without any secret: there is no place for a token or a service catalog.

    Args:
        request_id: generated where the caller has none. A payload shows it only if user and project are known, as Nova's do.
        global_request_id: the id of the request that led to this one: Cinder's user holds it.
        user_id: who asked.
        project_id: for which project.
        user_name: the user's name.
        project_name: the project's name.
        domain_id: the domain of a request to a domain.
        user_domain_id: the user's domain.
        project_domain_id: the project's domain.
        system_scope: `all` for a request to the whole system.
        resource_uuid: a resource that the request is about.
        roles: the user's roles.
        is_admin: the request has an administrator's rights; Nova's swaps always do.
        is_admin_project: the project is the administrators' one.
        read_only: oslo.context's flag, passed on.
        show_deleted: oslo.context's flag, passed on.
        read_deleted: Nova's word for whether deleted rows are read: `no`, `yes`, `only`.
    """

    request_id: str = field(default_factory=_new_request_id)
    global_request_id: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    user_name: str | None = None
    project_name: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    system_scope: str | None = None
    resource_uuid: str | None = None
    roles: tuple[str, ...] = ()
    is_admin: bool = True
    is_admin_project: bool = True
    read_only: bool = False
    show_deleted: bool = False
    read_deleted: str | None = "no"
    _written: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, source: ContextSource) -> Self:
        """Return the context that `source` tells; what is no part of a redacted context (tokens among it) is left out.

        Raises:
            TypeError: `source` is none of a RequestContext, a mapping, or an object with `to_dict()`.
        """
        if isinstance(source, cls):
            return source
        told = source.to_dict() if isinstance(source, HasToDict) else source
        if not isinstance(told, Mapping):
            raise TypeError(f"a request context is a RequestContext, a mapping, or has to_dict(): got {type(source).__name__}")
        values: dict[str, Any] = {}
        for name, aliases in _ALIASES.items():
            values[name] = next((_text(told[key]) for key in aliases if told.get(key) is not None), None)
        for name in _TEXTS:
            if told.get(name) is not None:
                values[name] = _text(told[name])
        for name in _FLAGS:
            if told.get(name) is not None:
                values[name] = bool(told[name])
        roles = told.get("roles") or ()
        values["roles"] = (roles,) if isinstance(roles, str) else tuple(_text(role) for role in roles)
        return cls(**values)

    @property
    def shown_request_id(self) -> str | None:
        """The `request_id` of a payload: None without user or project (nova `InstanceActionPayload.__init__`)."""
        return self.request_id if self.user_id and self.project_id else None

    def written(self, write: Callable[[Self], tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """Return what `write` makes of this context: it is asked once, since a context never changes."""
        if self._written is None:
            object.__setattr__(self, "_written", write(self))
        assert self._written is not None
        return self._written

    def to_wire(self, now: datetime) -> dict[str, Any]:
        """Return what follows `_context_` on the wire, by Nova's names and in Nova's order.

        Args:
            now: when the context is packed, aware; Nova writes the time of redaction, not of the request.
        """
        parts = (self.user_id, self.project_id, self.domain_id, self.user_domain_id, self.project_domain_id)
        return {
            "user": self.user_id,
            "project_id": self.project_id,
            "system_scope": self.system_scope,
            "project": self.project_id,
            "domain": self.domain_id,
            "user_domain": self.user_domain_id,
            "project_domain": self.project_domain_id,
            "is_admin": self.is_admin,
            "read_only": self.read_only,
            "show_deleted": self.show_deleted,
            "auth_token": None,
            "request_id": self.request_id,
            "global_request_id": self.global_request_id,
            "resource_uuid": self.resource_uuid,
            "roles": list(self.roles),
            "user_identity": " ".join(part or "-" for part in parts),
            "is_admin_project": self.is_admin_project,
            "user_id": self.user_id,
            "read_deleted": self.read_deleted,
            "remote_address": None,
            "timestamp": now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
            "quota_class": None,
            "user_name": self.user_name,
            "service_catalog": [],
            "project_name": self.project_name,
        }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


_current: ContextVar[RequestContext | None] = ContextVar("aioswap_request_context", default=None)


@contextmanager
def request_context(source: ContextSource) -> Generator[RequestContext]:
    """Make `source` the request context of everything that is emitted inside the `with`, in this task and those it starts.

    Raises:
        TypeError: `source` is no context; see `RequestContext.of`.
    """
    context = RequestContext.of(source)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def current_context() -> RequestContext | None:
    """Return the context of the innermost `request_context`, None outside of any."""
    return _current.get()
