"""Plain arithmetic on a text, without `eval`: numbers, + - * / and parentheses, exact inside."""

import ast
from collections.abc import Callable
from fractions import Fraction
from operator import add, mul, sub, truediv

from zava_mcp.errors import ArgumentError

MAX_CHARACTERS = 200
MAX_DEPTH = 100

_ALLOWED = frozenset("0123456789.+-*/() ")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}


def calculate(expression: str) -> str:
    """Return the value of an expression, rounded to cents, as a plain number such as '4' or '12.5'.

    Raises:
        ArgumentError: If the expression is too long, too deep, divides by zero or is not plain arithmetic.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ArgumentError(f"The expression has {len(expression)} characters; at most {MAX_CHARACTERS} are allowed.")
    foreign = sorted(set(expression) - _ALLOWED)
    if foreign:
        raise ArgumentError(
            f"{foreign[0]!r} is not allowed in {expression!r}: "
            "write numbers, + - * / and parentheses, as in '2 * (3.5 + 4)'."
        )
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        value = _value(tree.body, expression, 1)
    except (SyntaxError, MemoryError, RecursionError):
        # The parser reports nesting beyond its own stack as one of the latter two.
        raise ArgumentError(f"{expression!r} is not an arithmetic expression such as '2 * (3.5 + 4)'.") from None
    except ZeroDivisionError:
        raise ArgumentError(f"{expression!r} divides by zero.") from None
    return _plain(value)


def _value(node: ast.expr, expression: str, depth: int) -> Fraction:
    if depth > MAX_DEPTH:
        raise ArgumentError(f"The expression is nested more than {MAX_DEPTH} levels deep; calculate it in parts.")
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        # The digits as written: 0.1 is a tenth, not the float nearest to it.
        return Fraction(expression.strip()[node.col_offset : node.end_col_offset])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, expression, depth + 1)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left = _value(node.left, expression, depth + 1)
        right = _value(node.right, expression, depth + 1)
        return _OPERATORS[type(node.op)](left, right)
    raise ArgumentError(f"{expression!r} holds more than + - * / and parentheses.")


def _plain(value: Fraction) -> str:
    # Half a cent goes up, away from zero; whole numbers of cents are exact at any length.
    cents = (abs(value) * 100 + Fraction(1, 2)).__floor__()
    whole, rest = divmod(cents, 100)
    digits = f"{whole}.{rest:02}".rstrip("0").rstrip(".") if rest else str(whole)
    return f"-{digits}" if value < 0 and cents else digits
