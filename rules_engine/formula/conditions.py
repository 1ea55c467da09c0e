"""What comparisons with constants leave over: conditions that always or never hold, branches that
nothing can reach. Only comparisons of one field with a constant are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .operators import compare
from .tree import Chain, FieldUse, Invoke, Node
from .values import Value

_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>"}

ConstantOf = Callable[[Node], Value]  # None where a part is not constant


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a constant."""

    field_id: str
    operator: str
    value: float | str | bool


def read_comparison(node: Node, constant_of: ConstantOf) -> Comparison | None:
    """Read 分数>=70 or 70<=分数; None for any other node."""
    if not isinstance(node, Chain) or len(node.rest) != 1:
        return None
    operator, right = node.rest[0]
    left = node.first
    if operator not in _FLIPPED:
        return None
    if not isinstance(left, FieldUse):
        left, right, operator = right, left, _FLIPPED[operator]
    value = constant_of(right)
    if not isinstance(left, FieldUse) or not isinstance(value, float | str | bool):
        return None
    return Comparison(left.field.id, operator, value)


class Taken:
    """Remembers what earlier conditions took, to find one that nothing is left for."""

    def __init__(self) -> None:
        self._earlier: list[Comparison] = []

    def leaves_nothing(self, found: Comparison | None) -> bool:
        """Tell whether all this condition could take was taken before; then remember it."""
        if found is None:
            return False
        if any(_includes(before, found) for before in self._earlier):
            return True
        self._earlier.append(found)
        return False


def _includes(before: Comparison, later: Comparison) -> bool:
    """Tell whether whatever fulfils the later comparison fulfilled the earlier one."""
    if before.field_id != later.field_id:
        return False
    if before.operator == later.operator and _is_same(before.value, later.value):
        return True
    if not isinstance(before.value, float) or not isinstance(later.value, float):
        return False
    if before.operator not in ("<", "<=", ">", ">="):
        return False
    if later.operator == "=":
        return _holds(later.value, before)
    if later.operator[:1] != before.operator[:1] or later.operator == "<>":
        return False
    return _holds(later.value, before) or (
        later.value == before.value and len(later.operator) <= len(before.operator)
    )


def _holds(value: float, comparison: Comparison) -> bool:
    limit = comparison.value
    order = compare(value, limit)
    return {
        "<": order == -1,
        "<=": order in (-1, 0),
        ">": order == 1,
        ">=": order in (1, 0),
    }[comparison.operator]


def _is_same(first: Value, second: Value) -> bool:
    return type(first) is type(second) and compare(first, second) == 0


def decide_together(comparisons: Sequence[Comparison], *, is_and: bool) -> bool | None:
    """Tell what comparisons joined by AND or OR always give, None when the order decides.

    With AND 渠道="天猫" and 渠道="京东" never hold together; with OR their opposites always do.
    """
    by_field: dict[str, list[Comparison]] = {}
    for item in comparisons:
        by_field.setdefault(item.field_id, []).append(item)
    exact = "=" if is_and else "<>"
    for items in by_field.values():
        values = [item.value for item in items if item.operator == exact]
        if any(_exclude_each_other(values[0], value) for value in values[1:]):
            return not is_and
        if _are_limits_decided(items, is_and=is_and):
            return not is_and
    return None


def _exclude_each_other(first: Value, second: Value) -> bool:
    """Whether no field equals both; a blank one equals 0, "" and FALSE alike."""
    is_blank_like = not first and not second
    return not is_blank_like and not _is_same(first, second)


def _are_limits_decided(items: Sequence[Comparison], *, is_and: bool) -> bool:
    """Whether limits leave no room between them (AND) or leave nothing out (OR)."""
    lower = [(c.value, c.operator) for c in items if c.operator in (">", ">=")]
    upper = [(c.value, c.operator) for c in items if c.operator in ("<", "<=")]
    for low, low_operator in lower:
        for high, high_operator in upper:
            if not isinstance(low, float) or not isinstance(high, float):
                continue
            are_inclusive = (low_operator == ">=", high_operator == "<=")
            if is_and and (low > high or (low == high and not all(are_inclusive))):
                return True
            if not is_and and (low < high or (low == high and any(are_inclusive))):
                return True
    return False


def list_else_ifs(node: Invoke) -> list[Invoke]:
    """An IF and the IFs that stand one in the other's last place."""
    found: list[Invoke] = []
    current: Node = node
    while isinstance(current, Invoke) and current.function.en == "IF":
        found.append(current)
        if len(current.args) < 3:
            break
        current = current.args[2]
    return found
