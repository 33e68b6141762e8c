"""The reference of metrics, made from their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_manager.telemetry.definitions import Metric


def reference(metrics: Iterable[Metric]) -> str:
    """A table in Markdown, a row per metric."""
    return "\n".join(("| metric | kind | labels | |", "| --- | --- | --- | --- |", *_rows(metrics), ""))


def _rows(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        values = f": {metric.values}" if metric.values else ""
        buckets = f". Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}" if metric.buckets else ""
        yield f"| `{metric.name}` | {metric.kind} | {labels}{values} | {metric.help}{buckets} |"
