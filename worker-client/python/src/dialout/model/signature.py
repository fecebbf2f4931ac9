"""The parameters of a model, as a schema and as Python's values."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import json
from typing import Annotated, Any, Callable, Optional, Sequence, get_args, get_origin

from ..errors import InvalidInput, InvalidModel
from ..files import File
from ..job import Job
from .annotations import hints_of, kind_of
from .bounded import Bounded
from .input import MISSING, InputField
from .kinds import Choice, Kind, ListOf, Nullable, Schema, show

# The edge takes no larger one.
LARGEST_SCHEMA = 65_536
_STREAMS = (
    collections.abc.Generator,
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
)


@dataclasses.dataclass(frozen=True)
class Parameter:
    name: str
    kind: Kind
    default: Any = MISSING


class Signature:
    """What a model takes and gives.

    `output` is the kind of its result, `piece` that of what a generator yields; `None` if nothing says it.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        job_parameter: Optional[str],
        takes_more: bool,
        output: Optional[Kind],
        piece: Optional[Kind] = None,
    ) -> None:
        self.parameters = {parameter.name: parameter for parameter in parameters}
        self.job_parameter = job_parameter
        self.takes_more = takes_more
        self.output = output
        self.piece = piece

    def schema(self) -> Optional[dict[str, Schema]]:
        """The schema for `register`; `None` if the model takes only the job, and so whatever comes."""
        if not self.parameters and self.job_parameter is not None:
            return None
        properties = {each.name: self._property(each) for each in self.parameters.values()}
        required = [each.name for each in self.parameters.values() if each.default is MISSING]
        taken: Schema = {"type": "object", "properties": properties}
        if required:
            taken["required"] = required
        if not self.takes_more:
            taken["additionalProperties"] = False
        schema = {"input": taken}
        output = {} if self.output is None else self.output.schema()
        if output:
            schema["output"] = output
        size = len(json.dumps(schema).encode())
        if size > LARGEST_SCHEMA:
            raise InvalidModel(
                f"The schema has {size:,} bytes; the edge takes {LARGEST_SCHEMA:,}: shorten descriptions or choices."
            )
        return schema

    def _property(self, parameter: Parameter) -> Schema:
        schema = parameter.kind.schema()
        default = parameter.default
        if default is MISSING or default is None or parameter.kind.is_file:
            return schema
        try:
            return {**schema, "default": json.loads(json.dumps(_plain(default), allow_nan=False))}
        except (TypeError, ValueError):
            raise InvalidModel(
                f"{parameter.name}: the default {show(default)} can't be written as JSON."
            ) from None

    def bind(
        self, given: dict[str, Any], files: Sequence[File], job: Optional[Job] = None
    ) -> dict[str, Any]:
        """The arguments of the model: what was sent, checked, and defaults for what wasn't.

        Raises `InvalidInput` if something is missing, unknown or wrong.
        """
        arguments: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            value = _files_for(parameter, files, given) if parameter.kind.is_file else MISSING
            if value is MISSING:
                value = given.get(name, MISSING)
            if value is None and parameter.default is not MISSING:
                value = MISSING
            if value is not MISSING:
                arguments[name] = parameter.kind.coerce(value, name)
            elif parameter.default is not MISSING:
                arguments[name] = parameter.default
            else:
                raise InvalidInput(f"{name} is missing.", code="invalid_input")
        self._check_rest(given, files, arguments)
        if self.job_parameter is not None and job is not None:
            arguments[self.job_parameter] = job
        return arguments

    def _check_rest(
        self, given: dict[str, Any], files: Sequence[File], arguments: dict[str, Any]
    ) -> None:
        if not self.parameters and self.job_parameter is not None and not self.takes_more:
            return
        for name in [*given, *(file.field or "" for file in files)]:
            if name in self.parameters:
                continue
            if not self.takes_more:
                known = ", ".join(self.parameters) or "nothing"
                raise InvalidInput(
                    f"There is no input named {show(name)}; this model takes {known}.",
                    code="invalid_input",
                )
            if name in given and name != self.job_parameter:
                arguments[name] = given[name]


def _files_for(parameter: Parameter, files: Sequence[File], given: dict[str, Any]) -> Any:
    mine = [file for file in files if file.field == parameter.name]
    kind = parameter.kind
    while isinstance(kind, (Bounded, Nullable)):
        kind = kind.inner
    if isinstance(kind, ListOf):
        return mine if mine or given.get(parameter.name) == [] else MISSING
    if len(mine) > 1:
        raise InvalidInput(
            f"{parameter.name} takes one file; {len(mine)} came.", code="invalid_input"
        )
    return mine[0] if mine else MISSING


def read_signature(function: Callable[..., Any], name: str) -> Signature:
    """Reads the parameters of a function, or of a bound method. Raises `InvalidModel`."""
    hints = hints_of(function, name)
    parameters: list[Parameter] = []
    job_parameter: Optional[str] = None
    takes_more = False
    for each in inspect.signature(function).parameters.values():
        annotation = hints.get(each.name, inspect.Parameter.empty)
        where = f"{name}, parameter {each.name}"
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
        elif each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise InvalidModel(f"{where}: inputs have names, so it can't be positional only.")
        elif annotation is Job:
            job_parameter = each.name
        else:
            parameters.append(_parameter(each.name, annotation, each.default, where))
    output, piece = _output_kinds(hints.get("return", inspect.Parameter.empty), f"{name}, result")
    return Signature(parameters, job_parameter, takes_more, output, piece)


def _parameter(name: str, annotation: Any, default: Any, where: str) -> Parameter:
    field = default if isinstance(default, InputField) else None
    if field is None and get_origin(annotation) is Annotated:
        notes = [note for note in get_args(annotation) if isinstance(note, InputField)]
        field = notes[0] if notes else None
    if field is not None:
        default = (
            field.default
            if isinstance(default, InputField) or (default is inspect.Parameter.empty)
            else default
        )
    if default is inspect.Parameter.empty:
        default = MISSING
    if annotation is inspect.Parameter.empty and default not in (MISSING, None):
        annotation = type(default)
    kind = kind_of(annotation, where, None if field is None else field.format)
    if kind.has_file and not kind.is_file:
        raise InvalidModel(
            f"{where}: a form sends files in fields of their own, not inside of others: make it a parameter of its own."
        )
    if isinstance(kind, Nullable) and default is MISSING:
        default = None
    if field is not None:
        if field.choices is not None:
            kind = _with_choices(kind, field, where)
        kind = Bounded(kind, field, where)
    _check_default(kind, default, where)
    return Parameter(name, kind, default)


def _with_choices(kind: Kind, field: InputField, where: str) -> Kind:
    bare = kind.inner if isinstance(kind, Nullable) else kind
    if kind.is_file or isinstance(bare, Choice):
        raise InvalidModel(f"{where}: choices don't fit its type.")
    choices = list(field.choices or ())
    if isinstance(bare, ListOf):
        return ListOf(Choice(choices), bare.make)
    choice = Choice(choices, [bare.coerce(value, where) for value in choices])
    return Nullable(choice) if isinstance(kind, Nullable) else choice


def _check_default(kind: Kind, default: Any, where: str) -> None:
    """A default that its own bounds refuse would be shown in the form, and refused when it is sent."""
    if default is MISSING or default is None or kind.is_file:
        return
    try:
        kind.coerce(_plain(default), where)
    except InvalidInput as error:
        raise InvalidModel(f"The default doesn't fit: {error}") from None


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    return value


def _output_kinds(annotation: Any, where: str) -> tuple[Optional[Kind], Optional[Kind]]:
    """The kinds of the result, and of the pieces that are streamed before it."""
    if annotation in (inspect.Parameter.empty, None, type(None), Any):
        return None, None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin not in _STREAMS:
        return kind_of(annotation, where), None
    piece = kind_of(arguments[0], where)
    returned = arguments[2:] if origin is collections.abc.Generator else ()
    if returned and returned[0] not in (None, type(None), Any):
        return kind_of(returned[0], where), piece
    if piece.is_file:
        return None, piece
    # What was streamed is the result: one text, or the list of the pieces.
    return piece if piece.schema().get("type") == "string" else ListOf(piece), piece
