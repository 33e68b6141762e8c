"""What a PromQL expression asks for: metrics with the labels it names of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser


@dataclass(frozen=True, slots=True)
class Selection:
    """One series selector, with every label the expression matches, groups or joins it by."""

    metric: str
    labels: frozenset[str]


def selections(expression: str) -> list[Selection]:
    """Every selector in `expression`, which may hold variables of Grafana. Raises ValueError for what is no PromQL."""
    expression = re.sub(r"\$__(rate_)?interval", "5m", expression)
    return list(_selected(promql_parser.parse(expression), frozenset()))


def _selected(node: Any, outer: frozenset[str]) -> Iterator[Selection]:
    match node:
        case promql_parser.VectorSelector():
            matched = {matcher.name for matcher in node.matchers.matchers}
            yield Selection(str(node.name), frozenset(matched | outer))
        case promql_parser.MatrixSelector():
            yield from _selected(node.vector_selector, outer)
        case promql_parser.SubqueryExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selected(node.expr, outer)
        case promql_parser.AggregateExpr():
            yield from _selected(node.expr, outer | _labels(node.modifier))
        case promql_parser.BinaryExpr():
            joined = outer | _labels(node.modifier.matching if node.modifier is not None else None)
            yield from _selected(node.lhs, joined)
            yield from _selected(node.rhs, joined)
        case promql_parser.Call():
            for argument in node.args:
                yield from _selected(argument, outer)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            raise ValueError(f"unknown expression {node!r}")


def _labels(modifier: Any) -> frozenset[str]:
    """Those named by `by` and `on`; what `without` and `ignoring` name need not be there."""
    kinds = {"By", "Include"}
    if modifier is None or str(modifier.type).rpartition(".")[2] not in kinds:
        return frozenset()
    return frozenset(modifier.labels)
