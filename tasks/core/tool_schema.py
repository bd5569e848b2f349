"""Tools as a chat request carries them: compiled once, then every call is checked strictly against them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import orjson
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

_SHOWN = 80
_SHORT = 2000  # characters of arguments; what is longer is rare, and not worth the memory
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        # JSON Schema takes 5.0 for an integer; a tool does not.
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "array": lambda _, value: isinstance(value, list),
        "object": lambda _, value: isinstance(value, dict),
    }
)
_Strict = extend(Draft202012Validator, type_checker=_TYPES)  # type: ignore[no-untyped-call]  # jsonschema's gap


class ToolBook:
    """The tools of a request by name, with a validator for the arguments of each."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Compile tools in the OpenAI shape.

        Raises:
            ValueError: A tool is not of that shape, or its parameters are no JSON schema; the message says which.
        """
        self._validators: dict[str, Any] = {}
        self._plain: dict[str, _PlainSchema | None] = {}
        texts: list[str] = []
        closed: list[Any] = []
        for place, tool in enumerate(tools):
            name, description, parameters = _read_tool(place, tool)
            if name in self._validators:
                raise ValueError(f"tools[{place}] is named {name!r} like a tool before it")
            self._validators[name] = _validator(place, parameters)
            self._plain[name] = _PlainSchema.of(parameters)
            texts += [name, description, *_descriptions(parameters)]
            closed += _closed_values(parameters)
        self.names = tuple(self._validators)  # as listed
        self.text = "\n".join(texts)
        self.closed_values = tuple(closed)

    def fault(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        """Return why a tool cannot be called with these arguments, or None where it can."""
        validator = self._validators.get(name)
        if validator is None:
            return f"there is no tool {name!r}"
        plain = self._plain[name]
        if plain is not None and plain.surely_fit(arguments):
            return None
        try:
            error = next(validator.iter_errors(arguments), None)
        except Unresolvable as unresolvable:
            return f"the schema of {name} refers to {unresolvable.ref!r}, which is not in it"
        if error is None:
            return None
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        return f"{name}{where}: {_cut(error.message)}"


class _PlainSchema(NamedTuple):
    """A schema of flat arguments, checked fast; the validator still judges what fails here."""

    required: frozenset[str]
    scalars: dict[str, type]
    lists: dict[str, type]

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "_PlainSchema | None":
        """Return the plain form of a schema, or None where it says more than names, types and what is required."""
        if not set(schema) <= {"type", "properties", "required", "description", "title", "additionalProperties"}:
            return None
        if schema.get("type") != "object" or schema.get("additionalProperties", False) is not False:
            return None
        scalars, lists = dict[str, type](), dict[str, type]()
        for name, field in schema.get("properties", {}).items():
            if (one := _plain_type(field)) is not None:
                scalars[name] = one
            elif _is_plain_list(field) and (one := _plain_type(field["items"])) is not None:
                lists[name] = one
            else:
                return None
        return cls(frozenset(schema.get("required", ())), scalars, lists)

    def surely_fit(self, arguments: Mapping[str, Any]) -> bool:
        """Whether arguments fit beyond doubt."""
        return self.required <= arguments.keys() and all(map(self._fits, arguments.items()))

    def _fits(self, argument: tuple[str, Any]) -> bool:
        name, value = argument
        if name in self.scalars:
            return type(value) is self.scalars[name]
        one = self.lists.get(name)
        return one is not None and type(value) is list and all(type(part) is one for part in value)


def read_arguments(text: str) -> Mapping[str, Any]:
    """Return the arguments of a call as an object, which is not to be changed: all who ask get the same one.

    Raises:
        ValueError: The text is not one JSON object with each key once; the message says why.
    """
    return _read_again(text) if len(text) <= _SHORT else _read(text)


@lru_cache(maxsize=256)
def _read_again(text: str) -> Mapping[str, Any]:
    """Read arguments that one gate after another asks for."""
    return _read(text)


def _read(text: str) -> Mapping[str, Any]:
    value = _read_compact(text)
    if value is None:
        value = _read_any(text)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def _read_compact(text: str) -> Any:
    """Return the value of JSON text that is written without blanks, several times as fast; None for any other text."""
    try:
        value = orjson.loads(text)
        # Nothing was lost in reading what is written as it was: no key that came twice, no digit of a number.
        return value if orjson.dumps(value) == text.encode() else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def _read_any(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _read_tool(place: int, tool: Any) -> tuple[str, str, Mapping[str, Any]]:
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        raise ValueError(f"tools[{place}] is not of type 'function'")
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError(f"tools[{place}] has no function with a name")
    description, parameters = function.get("description") or "", function.get("parameters")
    if not isinstance(description, str) or not isinstance(parameters, Mapping):
        raise ValueError(f"tools[{place}] ({function['name']}) needs parameters and a text as description")
    return function["name"], description, parameters


def _validator(place: int, parameters: Mapping[str, Any]) -> Any:
    try:
        _Strict.check_schema(parameters)
    except SchemaError as error:
        raise ValueError(f"tools[{place}] has parameters that are no JSON schema: {_cut(error.message)}") from error
    # An empty registry: a schema must not make the validator fetch anything.
    return _Strict(_closed(parameters), registry=Registry())


_PLAIN_TYPES = {"string": str, "integer": int, "boolean": bool}


def _plain_type(field: Any) -> type | None:
    plain = isinstance(field, Mapping) and set(field) <= {"type", "description", "title", "default"}
    kind = field.get("type") if plain else None
    return _PLAIN_TYPES.get(kind) if isinstance(kind, str) else None


def _is_plain_list(field: Any) -> bool:
    plain = isinstance(field, Mapping) and set(field) <= {"type", "items", "description", "title"}
    return plain and field.get("type") == "array" and "items" in field


def _closed(schema: Any) -> Any:
    """Return a schema whose objects take no properties but those they list, unless they say otherwise."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {key: _closed(value) for key, value in schema.items()}
    if isinstance(copy.get("properties"), dict) and schema.get("type") == "object":
        copy.setdefault("additionalProperties", False)
    return copy


def _closed_values(schema: Any) -> Iterator[Any]:
    """Yield the values that a schema itself offers: enums, constants and defaults."""
    if isinstance(schema, Mapping):
        yield from schema.get("enum", ()) if isinstance(schema.get("enum"), list) else ()
        yield from (schema[key] for key in ("const", "default") if key in schema)
    children = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    for child in children:
        yield from _closed_values(child)


def _descriptions(schema: Any) -> Iterator[str]:
    children = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    for child in children:
        yield from _descriptions(child)
    if isinstance(schema, Mapping) and isinstance(schema.get("description"), str):
        yield schema["description"]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
