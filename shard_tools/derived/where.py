"""`--where`: a condition on columns of the index, written as Python writes it, as an Arrow expression."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import Any

import pyarrow.compute as pc

from genimage_stream.vocabulary import alias
from shard_tools.errors import ToolError

_NAMED = ("generator", "split", "label", "format")  # whose values have other names as well
_COMPARISONS = {ast.Eq: eq, ast.NotEq: ne, ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge}


def condition(text: str, columns: Sequence[str]) -> Any:
    """The Arrow expression of a text such as `generator == 'sd14' and width >= 512`. Raises ToolError, naming the part
    that is not understood."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" near column {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ToolError(f"--where {text!r}: not a condition{where}: write e.g. generator == 'sd14'") from None
    try:
        return _truth(tree.body, columns)
    except _NotUnderstoodError as error:
        raise ToolError(
            f"--where {text!r}: {error}; there are comparisons of columns with values, `in (...)`, `is None`, and, or, "
            "not and parentheses"
        ) from None


class _NotUnderstoodError(Exception):
    def __init__(self, node: ast.AST) -> None:
        super().__init__(f"{ast.unparse(node)} is not understood")


def _truth(node: ast.expr, columns: Sequence[str]) -> Any:
    if isinstance(node, ast.BoolOp):
        parts = [_truth(value, columns) for value in node.values]
        return reduce(and_ if isinstance(node.op, ast.And) else or_, parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_truth(node.operand, columns)
    if isinstance(node, ast.Name):
        return _column(node, columns)
    if not isinstance(node, ast.Compare):
        raise _NotUnderstoodError(node)
    sides = [node.left, *node.comparators]
    pairs = zip(sides, node.ops, sides[1:], strict=False)
    return reduce(and_, [_comparison(node, left, op, right, columns) for left, op, right in pairs])


def _comparison(whole: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr, columns: Sequence[str]) -> Any:
    if isinstance(op, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.Tuple, ast.List, ast.Set, ast.Constant)) or not isinstance(left, ast.Name):
            raise _NotUnderstoodError(whole)
        column = _column(left, columns)
        elements = [right] if isinstance(right, ast.Constant) else right.elts  # ('sd14') is no tuple to Python
        found = reduce(or_, [_equal(left, column, _value(one)) for one in elements], pc.scalar(False))
        return found if isinstance(op, ast.In) else ~found
    if isinstance(op, (ast.Is, ast.IsNot)):
        if not isinstance(left, ast.Name) or not (isinstance(right, ast.Constant) and right.value is None):
            raise _NotUnderstoodError(whole)
        column = _column(left, columns)
        return column.is_null() if isinstance(op, ast.Is) else column.is_valid()
    if not isinstance(left, ast.Name) and not isinstance(right, ast.Name):
        raise _NotUnderstoodError(whole)
    one, other = (_column(side, columns) if isinstance(side, ast.Name) else _value(side) for side in (left, right))
    if isinstance(op, (ast.Eq, ast.NotEq)) and isinstance(left, ast.Name) != isinstance(right, ast.Name):
        name, column, value = (left, one, other) if isinstance(left, ast.Name) else (right, other, one)
        found = _equal(name, column, value)
        return found if isinstance(op, ast.Eq) else ~found
    if not isinstance(left, ast.Name):  # Arrow compares from the left
        flipped = {ast.Lt: gt, ast.LtE: ge, ast.Gt: lt, ast.GtE: le}
        return {**_COMPARISONS, **flipped}[type(op)](other, one)
    return _COMPARISONS[type(op)](one, other)


def _equal(name: ast.expr, column: Any, value: Any) -> Any:
    """Whether a column has a value, by any of its names: 'test' is 'val', 'ai' is 'fake'."""
    meant = None
    if isinstance(name, ast.Name) and name.id in _NAMED and isinstance(value, str):
        meant = alias(name.id, value)
    return column == value if meant in (None, value) else (column == value) | (column == meant)


def _column(node: ast.Name, columns: Sequence[str]) -> Any:
    if node.id not in columns:
        raise ToolError(f"--where: there is no column {node.id}; there are: {', '.join(columns)}")
    return pc.field(node.id)


def _value(node: ast.expr) -> Any:
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    inner = node.operand if isinstance(node, ast.UnaryOp) and sign < 0 else node
    if isinstance(inner, ast.Constant) and isinstance(inner.value, (str, int, float)):
        value = inner.value if sign > 0 or isinstance(inner.value, str) else -inner.value
        try:
            pc.scalar(value)
        except (OverflowError, UnicodeError):  # more than 64 bits, half a character
            raise _NotUnderstoodError(node) from None
        if sign > 0 or not isinstance(inner.value, str):
            return value
    raise _NotUnderstoodError(node)
