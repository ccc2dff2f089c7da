"""Versioned objects: four keys on the wire, flat models in Python.

On the wire an object is `{"nova_object.name": ..., "nova_object.namespace": ..., "nova_object.version": ...,
"nova_object.data": {...}}`, with `"nova_object.changes": [...]` sometimes; here these keys are its wrapper. Other projects
write another prefix. Source: oslo.versionedobjects `VersionedObject.obj_to_primitive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from aioswap.errors import DecodeError, UnsupportedVersion
from aioswap.wire.masking import mask
from aioswap.wire.times import MomentSchema, is_usual, write_moment

__all__ = ["PREFIX", "NestedSchema", "VersionedObject", "check_version", "field_since", "set_extra", "set_private", "since"]

PREFIX: Final = "nova_object"
_NAME: Final = "nova_object.name"
_NAMESPACE: Final = "nova_object.namespace"
_VERSION: Final = "nova_object.version"
_DATA: Final = "nova_object.data"
_FAULTS: Final = frozenset(("exception_message", "traceback"))
"""Fields that Nova does not mask: they are masked in a repr."""
_USUAL_VERSIONS: Final = frozenset(f"1.{minor}" for minor in range(100))
_VERSION_FORM: Final = re.compile(r"(\d{1,9})\.\d{1,9}(?:\.\d{1,9})?", re.ASCII)

# Slots of every pydantic model, set directly: a declared private attribute would cost a Python call for each object read.
set_private: Final = BaseModel.__dict__["__pydantic_private__"].__set__
_set_values: Final = BaseModel.__dict__["__dict__"].__set__
_set_present: Final = BaseModel.__dict__["__pydantic_fields_set__"].__set__
set_extra: Final = BaseModel.__dict__["__pydantic_extra__"].__set__


def since(version: str, release: str, default: Any = None) -> Any:
    """Declare a field that is newer than 1.0: absent from older objects, where its attribute is `default`.

    Args:
        version: the first version of its class that has it.
        release: the first nova that shipped it.
        default: the attribute's value where the wire has none.
    """
    return Field(default=default, json_schema_extra={"since": version, "nova": release})


def field_since(field: FieldInfo) -> str:
    """Return the first version of its class that has `field`."""
    told = field.json_schema_extra
    return str(told["since"]) if isinstance(told, dict) else "1.0"


class VersionedObject(BaseModel):
    """An object with a name and a version: its fields are attributes, unknown ones too.

    An object that was read keeps what it does not know and writes it back, and does not write what was absent. An object
    made in Python is written whole. Two objects are equal if they are of one class and written alike.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    known_versions: ClassVar[tuple[str, ...]] = ()
    """The versions of this class, oldest first: `at_version` writes each, and an object made in Python has the last."""
    nested_versions: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Field -> version of this class -> version of the objects in that field; "1.0" where it says nothing."""
    nested_classes: ClassVar[Mapping[str, type[VersionedObject]]] = {}
    """Field -> class of the objects in that field."""
    special: ClassVar[Mapping[str, type[Any]]] = {}
    """The fields that are no plain JSON in Python, and what they hold: datetime, or a class of objects."""
    _newer: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Version -> the fields that it does not have."""
    _own_wrapper: ClassVar[dict[str, Any]] = {_NAME: "VersionedObject", _NAMESPACE: "nova", _VERSION: "1.0", _DATA: None}
    """The wrapper of objects that are made in Python."""
    _names: ClassVar[set[str]] = set()
    """The fields. Nothing may change it: objects share it."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Note once a class what reading and writing would else find out for each object."""
        kinds = {name: _kind(field) for name, field in cls.model_fields.items()}
        cls.special = {name: kind for name, kind in kinds.items() if kind is not None}
        cls.nested_classes = {name: kind for name, kind in cls.special.items() if issubclass(kind, VersionedObject)}
        cls._names = set(cls.model_fields)
        version = cls.known_versions[-1] if cls.known_versions else "1.0"
        cls._own_wrapper = {_NAME: cls.__name__, _NAMESPACE: "nova", _VERSION: version, _DATA: None}
        place = {version: number for number, version in enumerate(cls.known_versions)}
        age = {name: place.get(field_since(field), 0) for name, field in cls.model_fields.items()}
        cls._newer = {
            version: frozenset(name for name, first in age.items() if first > number) for version, number in place.items()
        }

    @classmethod
    def made_of(cls, values: dict[str, Any]) -> Self:
        """Return the object with these values: all its fields, in their order. Nothing is checked: they must be right."""
        instance = cls.__new__(cls)
        _set_values(instance, values)
        _set_present(instance, cls._names)
        set_extra(instance, {})
        set_private(instance, None)
        return instance

    @property
    def object_prefix(self) -> str:
        """What the wrapper's keys begin with: `nova_object`, or another project's."""
        return self._wrapper()[0]

    @property
    def object_name(self) -> str:
        """The class name as its project writes it. A hint: nothing is decided by it."""
        return self._header("name")

    @property
    def object_namespace(self) -> str:
        """The project: `nova`."""
        return self._header("namespace")

    @property
    def object_version(self) -> str:
        """The version as text: `1.9`."""
        return self._header("version")

    @property
    def object_changes(self) -> tuple[Any, ...] | None:
        """The names of changed fields, None where the wire has none. Nova's own notifications never have any."""
        prefix, wrapper = self._wrapper()
        changes = wrapper.get(f"{prefix}.changes")
        return tuple(changes) if isinstance(changes, list) else None

    def _header(self, key: str) -> str:
        prefix, wrapper = self._wrapper()
        return str(wrapper[f"{prefix}.{key}"])

    def _wrapper(self) -> tuple[str, dict[str, Any]]:
        """Return the prefix, and the wrapper with None for its data."""
        private = self.__pydantic_private__
        if private is not None:
            return private["prefix"], private["wrapper"]
        return PREFIX, self._own_wrapper

    def to_wire(self) -> dict[str, Any]:
        """Return the object as plain JSON values, in the order of the wire."""
        prefix, wrapper = self._wrapper()
        data, present, extra = dict(self.__dict__), self.__pydantic_fields_set__, self.__pydantic_extra__
        # an object made in Python has no wrapper yet and is written whole
        if self.__pydantic_private__ is not None and (extra or len(present) != len(data)):
            data = {name: value for name, value in data.items() if name in present}
        for name in self.special:
            if data.get(name) is not None:
                data[name] = _plain(data[name])
        if extra:
            data.update((name, _plain(value)) for name, value in extra.items())
        return {**wrapper, prefix + ".data": data}

    def to_core(self) -> dict[str, Any]:
        """Return what `to_wire` does, for pydantic's core to write: moments stay what they are where it writes them alike.

        Only what is usual is this quick: for an object with absent or unknown fields, or another project's prefix, it is
        `to_wire`.
        """
        private = self.__pydantic_private__
        if private is None:
            wrapper = self._own_wrapper
        elif len(self.__pydantic_fields_set__) == len(self.__dict__) and private["prefix"] == PREFIX:
            wrapper = private["wrapper"]
        else:
            return self.to_wire()
        if self.__pydantic_extra__:
            return self.to_wire()
        data = self.__dict__
        if self.special:
            data = data.copy()
            for name, kind in self.special.items():
                value = data.get(name)
                if value is None:
                    continue
                if kind is datetime:
                    if not is_usual(value):
                        data[name] = _plain(value)  # the core would write it in another way
                elif type(value) is kind:
                    data[name] = value.to_core()
                elif type(value) is list:
                    data[name] = [item.to_core() if type(item) is kind else _plain(item) for item in value]
                else:
                    data[name] = _plain(value)
        return {**wrapper, _DATA: data}

    def at_version(self, version: str) -> Self:
        """Return this object as `version` of its class writes it.

        Fields that are newer than `version` are dropped, unknown ones and `changes` too; missing ones are filled with None
        or their default. The objects inside follow.

        Args:
            version: one of `known_versions`.

        Raises:
            ValueError: this class has no such version.
        """
        newer = self._newer.get(version)
        if newer is None:
            known = f"{self.known_versions[0]} to {self.known_versions[-1]}" if self.known_versions else "none that is known"
            raise ValueError(f"version {version!r}: {type(self).__name__} has the versions {known}")
        if not newer and self._is_newest():
            return self
        prefix, wrapper = self._wrapper()
        values = {name: value for name, value in self.__dict__.items() if name not in newer}
        for name in self.nested_classes.keys() & values.keys():
            values[name] = _pinned(values[name], self.nested_versions.get(name, {}).get(version, "1.0"))
        copy = self.model_construct(set(type(self).model_fields.keys() - newer), **values)
        header = {f"{prefix}.{key}": wrapper[f"{prefix}.{key}"] for key in ("name", "namespace")}
        set_private(copy, {"prefix": prefix, "wrapper": {**header, f"{prefix}.version": version, f"{prefix}.data": None}})
        return copy

    def _is_newest(self) -> bool:
        """Say whether this object, with those inside, is written as the last version of its class, and whole."""
        private, data = self.__pydantic_private__, self.__dict__
        if private is not None:
            wrapper = private["wrapper"]
            if len(wrapper) != 4 or wrapper.get(_VERSION) != self.known_versions[-1]:
                return False
            if len(self.__pydantic_fields_set__) != len(data):
                return False
        if self.__pydantic_extra__:
            return False
        for name in self.nested_classes:
            value = data[name]
            if value is None:
                continue
            for item in value if type(value) is list else (value,):
                # most objects inside were made in Python and hold no others: they need no call
                if (item.__pydantic_private__ or item.__pydantic_extra__ or item.nested_classes) and not item._is_newest():
                    return False
        return True

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, mask(value) if name in _FAULTS and isinstance(value, str) else value

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, VersionedObject):
            return NotImplemented
        return self is other or self.to_wire() == other.to_wire()

    __hash__ = None  # type: ignore[assignment]  # fields hold lists and dictionaries


class NestedSchema:
    """Marks a field as a versioned object: wrapped on the wire, a flat model in Python.

    Pydantic's core reads the four keys and the model inside, with one Python call for each object.
    """

    def __get_pydantic_core_schema__(self, source: type[VersionedObject], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema for pydantic."""
        model = handler(source)
        text = core_schema.typed_dict_field(core_schema.str_schema(strict=True))
        wrapper = core_schema.typed_dict_schema(
            {_NAME: text, _NAMESPACE: text, _VERSION: text, _DATA: core_schema.typed_dict_field(model)},
            extra_behavior="allow",
        )
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(_attach, wrapper),
            python_schema=model,
            serialization=core_schema.simple_ser_schema("any"),
        )


def _attach(wrapper: dict[str, Any]) -> VersionedObject:
    """Give the model that was read from a wrapper's data the rest of the wrapper."""
    if wrapper[_VERSION] not in _USUAL_VERSIONS:
        check_version(wrapper[_VERSION], "payload")
    instance: VersionedObject = wrapper[_DATA]
    wrapper[_DATA] = None
    set_private(instance, {"prefix": PREFIX, "wrapper": wrapper})
    return instance


def check_version(version: str, path: str) -> None:
    """Refuse another major version than 1; newer minor ones only add fields.

    Raises:
        DecodeError: `version` is no version; the text begins with `path`.
        UnsupportedVersion: it is of another major version.
    """
    form = _VERSION_FORM.fullmatch(version)
    if form is None:
        raise DecodeError(f"{path}: its version should be two or three numbers with dots between them")
    if int(form[1]) != 1:
        raise UnsupportedVersion(f"{path}: version {version} is of another major version than 1")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_moment(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.to_wire() if isinstance(value, VersionedObject) else value


def _pinned(value: Any, version: str) -> Any:
    """Return what a field of nested objects holds, at `version`."""
    if isinstance(value, list):
        return [item.at_version(version) for item in value]
    return None if value is None else value.at_version(version)


def _kind(field: FieldInfo) -> type[Any] | None:
    """Return what a field holds that is no plain JSON: a class of versioned objects, datetime, or None."""
    pending: list[Any] = [field.annotation, *field.metadata]
    kind: type[Any] | None = None
    while pending:
        part = pending.pop()
        if isinstance(part, MomentSchema):
            return datetime
        if isinstance(part, type) and issubclass(part, VersionedObject):
            kind = part
        pending.extend(get_args(part))
    return kind
