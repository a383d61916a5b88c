"""The parameters of an action behind `job`: filled from the payload, and checked by their annotations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any, get_type_hints

import msgspec

from geventjob.plugins.retries import GiveUp

EMPTY = inspect.Parameter.empty
UNFILLED = object()
"""The type of a parameter that keeps its default: no JSON can give its type."""
ANY, FURTHER = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
LONGEST_DEFAULT = 200
"""Bytes of JSON of a default that is shown."""
FORMATS = {datetime: "date-time", date: "date", time: "time"}


class InvalidPayload(GiveUp):
    """The payload does not fit the parameters of the action. No retry can help."""


@dataclass(frozen=True)
class Parameter:
    """A parameter that a field of the payload fills."""

    name: str
    type: Any
    default: Any = EMPTY
    """The value without a field; EMPTY: the field must be there."""
    by_position: bool = False

    def value(self, given: Any) -> Any:
        """Return a field of the payload as the parameter's type. Raises InvalidPayload."""
        if self.type is UNFILLED:
            raise InvalidPayload(f"{self.name}: no payload can give this parameter")
        try:
            return msgspec.convert(given, self.type)
        except msgspec.ValidationError as error:
            text, _, place = str(error).partition(" - at `$")
            raise InvalidPayload(f"{self.name}{place.rstrip('`')}: {_plain(text)}") from None


@dataclass(frozen=True)
class Parameters:
    """All parameters of an action but the job."""

    each: tuple[Parameter, ...] = ()
    rest: Parameter | None = None
    """The type of each further field, for code that takes `**fields`; None: further fields are ignored."""

    def __bool__(self) -> bool:
        return bool(self.each or self.rest)

    @property
    def fillable(self) -> tuple[Parameter, ...]:
        """The parameters that a payload may give."""
        return tuple(parameter for parameter in self.each if parameter.type is not UNFILLED)

    def fill(self, payload: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments by position and by name. Raises InvalidPayload that names every field that is wrong."""
        if not isinstance(payload, dict):
            raise InvalidPayload("payload: expected an object")
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for name, parameter in self._by_field(payload).items():
            if name in payload:
                try:
                    values[name] = parameter.value(payload[name])
                except InvalidPayload as error:
                    wrong.append(str(error))
            elif parameter.default is EMPTY:
                wrong.append(f"{name}: missing")
            elif parameter.by_position:
                values[name] = parameter.default
        if wrong:
            raise InvalidPayload("; ".join(wrong))
        return [values.pop(each.name) for each in self.each if each.by_position], values

    def _by_field(self, payload: Mapping[str, Any]) -> dict[str, Parameter]:
        found = {parameter.name: parameter for parameter in self.each}
        if self.rest:
            further = [name for name in payload if name not in found]
            found |= {name: Parameter(name, self.rest.type) for name in further}
        return found

    def shape(self) -> dict[str, Any]:
        """Return the JSON schema of a payload that fits."""
        fillable = self.fillable
        every = (*fillable, *([self.rest] if self.rest else []))
        schemas, parts = msgspec.json.schema_components([_formatted(parameter.type) for parameter in every])
        found = dict(zip((parameter.name for parameter in every), schemas, strict=True))
        shape: dict[str, Any] = {
            "type": "object",
            "properties": {each.name: found[each.name] | _default(each) for each in fillable},
            "required": [each.name for each in fillable if each.default is EMPTY],
            "additionalProperties": found[self.rest.name] if self.rest else False,
        }
        return shape | ({"$defs": parts} if parts else {})


NO_PARAMETERS = Parameters()


def parameters_of(target: Any) -> Parameters:
    """Return the parameters of a function behind its first, or those of `do_work` of a class.

    Raises TypeError for an annotation that cannot be resolved, or that JSON cannot give, of a parameter without a
    default.
    """
    code = target
    bound = False
    if inspect.isclass(target):
        code = getattr(target, "do_work", None)
        bound = isinstance(inspect.getattr_static(target, "do_work", None), (staticmethod, classmethod))
    if not inspect.isroutine(code):
        return NO_PARAMETERS
    signed = list(_signature(code).parameters.values())
    if not bound and signed and signed[0].kind in (signed[0].POSITIONAL_ONLY, signed[0].POSITIONAL_OR_KEYWORD):
        del signed[0]
    kinds = {each.kind for each in signed}
    if ANY in kinds and kinds <= {ANY, FURTHER}:  # a wrapper that passes on whatever it is given
        return NO_PARAMETERS
    names = getattr(inspect.unwrap(code), "__globals__", {})
    try:
        found = [_parameter(each, names) for each in signed if each.kind is not ANY]
    except TypeError as error:
        raise TypeError(f"{getattr(code, '__qualname__', code)}: {error}") from None
    rest = found.pop() if FURTHER in kinds else None
    return Parameters(tuple(found), rest)


def _signature(code: Any) -> inspect.Signature:
    """Return a signature in which names that are missing at run time do no harm: the type of `job` may be one."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(code, annotation_format=Format.FORWARDREF)
    return inspect.signature(code)


def _parameter(signed: inspect.Parameter, names: dict[str, Any]) -> Parameter:
    """Return a parameter with its type. Raises TypeError for one without a default that no payload can give."""
    by_position = signed.kind is signed.POSITIONAL_ONLY
    try:
        kind = _type(signed, names)
    except TypeError:
        if signed.default is EMPTY:
            raise
        kind = UNFILLED
    return Parameter(signed.name, kind, signed.default, by_position)


def _type(signed: inspect.Parameter, names: dict[str, Any]) -> Any:
    """Return the type that an annotation means. Raises TypeError for a type that JSON cannot give."""
    kind = signed.annotation
    if isinstance(kind, str) or kind not in (EMPTY, object):
        holder = type("holder", (), {"__annotations__": {"it": kind}})
        try:
            kind = get_type_hints(holder, names, include_extras=True)["it"]
        except Exception as error:
            raise TypeError(f"the annotation of {signed.name} cannot be resolved: {error}") from None
    if kind in (EMPTY, object):
        return Any
    try:
        msgspec.json.schema(kind)
    except Exception as error:  # of a type's own code, too
        said = str(error).splitlines() or [type(error).__name__]
        raise TypeError(f"no payload can give the parameter {signed.name}: {said[-1]}") from None
    return kind


def _formatted(kind: Any) -> Any:
    """Return a type with the format that a text must have, where the schema lacks it."""
    try:
        format = FORMATS.get(kind)
    except TypeError:  # not hashable
        return kind
    return Annotated[kind, msgspec.Meta(extra_json_schema={"format": format})] if format else kind


def _default(parameter: Parameter) -> dict[str, Any]:
    """Return the default for the schema; empty if there is none, or none that JSON can show briefly."""
    if parameter.default is EMPTY:
        return {}
    try:
        text = msgspec.json.encode(parameter.default)
    except Exception:
        return {}
    return {"default": msgspec.json.decode(text)} if len(text) <= LONGEST_DEFAULT else {}


def _plain(text: str) -> str:
    """Return an error of msgspec as a part of a sentence, without a value of the payload, which may be a secret."""
    if text.startswith(("Invalid enum value", "Invalid value")):
        return "none of the expected values"
    text = text.replace("`", "").replace(" | ", " or ")
    return text[:1].lower() + text[1:]
