"""Query parameters that a route does not take are refused: a misspelt one would change the answer in silence."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isclass
from typing import cast

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from agent_manager.protocol.errors import ErrorCode, RequestFailedError

_SHOWN_CHARACTERS = 80


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every route. Raises RequestFailedError (`invalid_request`) naming what is unknown and known."""
    taken = sorted(set(_taken(cast(APIRoute, request.scope["route"]).dependant)))
    unknown = {name: value for name, value in request.query_params.items() if name not in taken}
    if not unknown:
        return
    known = f"takes {', '.join(taken)}" if taken else "takes none"
    named = ", ".join(repr(name[:_SHOWN_CHARACTERS]) for name in unknown)
    faults = [
        {"field": name[:_SHOWN_CHARACTERS], "value": value[:_SHOWN_CHARACTERS], "message": "unknown parameter"}
        for name, value in unknown.items()
    ]
    raise RequestFailedError(
        ErrorCode.INVALID_REQUEST,
        f"unknown query parameter {named}; {request.url.path} {known}",
        detail={"faults": faults, "allowed": taken},
    )


def _taken(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isclass(annotation) and issubclass(annotation, BaseModel):
            yield from (info.alias or name for name, info in annotation.model_fields.items())
        else:
            yield field.alias
    for part in dependant.dependencies:
        yield from _taken(part)
