"""`/metrics`: for Prometheus."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from management_api.metrics import ApiMetrics
from management_api.openapi import problem_responses

router = APIRouter(tags=["health"])


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    summary="Metrics of this program, in Prometheus' text format",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses({}),
    },
)
async def metrics(request: Request) -> Response:
    """What this program has done and how it is; the manager's own metrics are served by itself."""
    counted = cast(ApiMetrics, request.app.state.metrics)
    return Response(counted.exposition(), media_type=CONTENT_TYPE_LATEST)
