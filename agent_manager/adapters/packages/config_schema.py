"""`config_schema`: whether it is a JSON Schema, and whether `config` meets it.

The schema's own references are followed, others are not: nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from agent_manager.adapters.packages.config_defaults import KEY
from agent_manager.documents.problems import Problem, dotted, mismatch, shortened, shown

MAX_PROBLEMS = 60

DEFAULT_DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What a schema without `$schema` is read as."""


def schema_problems(schema: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the schema itself, by JSON pointer."""
    dialect = schema.get("$schema", DEFAULT_DIALECT)
    validator = _validator_class(dialect)
    if validator is None:
        expected = f"a dialect of JSON Schema that is known, such as {DEFAULT_DIALECT}"
        return [mismatch((KEY, "$schema"), shown(dialect), expected)]
    checker = validator(validator.META_SCHEMA, format_checker=validator.FORMAT_CHECKER, registry=_OWN_REFERENCES)
    return [_schema_problem(error) for error, _ in zip(checker.iter_errors(schema), range(MAX_PROBLEMS), strict=False)]


def config_problems(schema: Mapping[str, Any], config: Mapping[str, Any]) -> list[Problem]:
    """Where a configuration does not meet a schema that is one, with what stands there and what is allowed."""
    validator = _validator_class(schema.get("$schema", DEFAULT_DIALECT))
    if validator is None:
        return []
    try:
        errors = validator(schema, registry=_OWN_REFERENCES).iter_errors(config)
        return [problem for error, _ in zip(errors, range(MAX_PROBLEMS), strict=False) for problem in _said(error)]
    except Unresolvable as error:
        message = f"{KEY} refers to {error.ref}, which is not in it: nothing is fetched; write it under $defs"
        return [Problem(path=(KEY,), message=message, expected="references inside the schema", value=error.ref)]
    except (RecursionError, re.error, OverflowError) as error:
        message = f"{KEY} cannot be applied to config: {shortened(str(error))}"
        return [Problem(path=(KEY,), message=message, expected="a schema that can be applied")]


_OWN_REFERENCES: Registry[Any] = Registry()


def _validator_class(dialect: object) -> type[Validator] | None:
    # Typed for the library's own default only; any value comes back as it is where the dialect is unknown.
    nothing = cast(type[Validator], None)
    found = validator_for({"$schema": dialect}, default=nothing) if isinstance(dialect, str) else nothing
    return cast(type[Validator] | None, found)


def _schema_problem(error: ValidationError) -> Problem:
    pointer = "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path)
    path = (KEY, *error.absolute_path)
    message = f"{KEY} is no JSON Schema at {pointer}: {shortened(error.message)}"
    return Problem(path=path, message=message, expected=_allowed(error), value=shown(error.instance))


def _said(error: ValidationError) -> Iterator[Problem]:
    path = ("config", *error.absolute_path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    instance = error.instance if isinstance(error.instance, Mapping) else {}
    if error.validator == "required":
        # One error for each missing key, which only its text names.
        missing = [name for name in schema.get("required", ()) if name not in instance and f"{name!r}" in error.message]
        for name in missing:
            below = (*path, name)
            yield Problem(path=below, message=f"{dotted(below)} is required: add it", expected=f"{name} with a value")
    elif error.validator == "additionalProperties" and schema["additionalProperties"] is False:
        known, patterns = list(schema.get("properties", ())), tuple(schema.get("patternProperties", ()))
        extra = [key for key in instance if key not in known and not any(re.search(one, key) for one in patterns)]
        for name in extra:
            message = f"{dotted((*path, name))} is not a known key: known are {', '.join(known) or 'none'}"
            yield Problem(path=(*path, name), message=message, expected=f"one of {', '.join(known)}", value=shown(name))
    else:
        yield mismatch(path, shown(error.instance), _allowed(error))


def _allowed(error: ValidationError) -> str:
    """What the keyword that was not met allows, as a noun phrase."""
    value = cast(Any, error.validator_value)
    match error.validator:
        case "type":
            return f"of type {' or '.join(value) if isinstance(value, list) else value}"
        case "enum":
            return f"one of {shortened(', '.join(shown(one) for one in value))}"
        case "const":
            return shown(value)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" as bound:
            return f"a number with {bound} {shown(value)}"
        case other:
            return f"as {other} {shown(value)} of {KEY} has it"
