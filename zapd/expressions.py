"""JMESPath that somebody else wrote, bounded: it runs on the event loop, over an event of up to a mebibyte.

JMESPath has no loops, but a chain such as `[@,@]|[@,@]|…` doubles its result at each step. So the steps of one
evaluation, the length of any list or text in it and the size of the result are all limited. The library is loaded at
the first expression: most daemons have none.
"""

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jmespath.visitor import TreeInterpreter

MAX_LENGTH = 2_000  #: characters of an expression
MAX_STEPS = 20_000  #: nodes visited in one evaluation
MAX_ITEMS = 20_000  #: of one list or object on the way
MAX_TEXT = 1_048_576  #: characters of one text on the way
MAX_RESULT = 50_000  #: values in the result, however deep


class BadExpression(ValueError):
    """It is not JMESPath; the text says where."""


class ExpressionFailed(Exception):
    """It cannot be applied to this value; the text says why."""


class Expression:
    """A compiled expression. Raises BadExpression."""

    __slots__ = ("_tree", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parsed(text)

    def search(self, value: Any) -> Any:
        """What it finds in `value`. Raises ExpressionFailed."""
        from jmespath.exceptions import JMESPathError  # noqa: PLC0415  # see the module's head

        try:
            found = _interpreter().visit(self._tree, value)
            _measure(found)
            return found
        except ExpressionFailed:
            raise
        except RecursionError:
            raise ExpressionFailed("it nests too deep") from None
        except (JMESPathError, TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            raise ExpressionFailed(_words(error)) from None

    def holds(self, value: Any) -> bool:
        """Whether the result is true in the sense of JMESPath: not false, null, or empty. Raises ExpressionFailed."""
        found = self.search(value)
        return found is not None and found is not False and found not in ("", [], {})


@lru_cache(maxsize=1024)
def compiled(text: str) -> Expression:
    """The expression, remembered. Raises BadExpression."""
    return Expression(text)


def _parsed(text: str) -> Any:
    if not text.strip():
        raise BadExpression("must not be empty")
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"must not be longer than {MAX_LENGTH} characters")
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415  # see the module's head
    from jmespath.parser import Parser  # noqa: PLC0415

    try:
        with warnings.catch_warnings():  # an old spelling of literals, which goes on working
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            tree = Parser().parse(text).parsed
    except RecursionError:
        raise BadExpression("it nests too deep") from None
    except (JMESPathError, ValueError, TypeError) as error:
        raise BadExpression(_words(error)) from None
    unknown = _unknown_function(tree)
    if unknown is not None:
        raise BadExpression(f"there is no function {unknown}()")
    return tree


def _unknown_function(tree: Any) -> str | None:
    from jmespath.functions import Functions  # noqa: PLC0415  # see the module's head

    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            return str(node["value"])
        nodes += [child for child in node["children"] if isinstance(child, dict)]
    return None


def _interpreter() -> "TreeInterpreter":
    return _bounded()()


@lru_cache(maxsize=1)
def _bounded() -> "type[TreeInterpreter]":
    from jmespath.visitor import TreeInterpreter  # noqa: PLC0415  # see the module's head

    class Bounded(TreeInterpreter):  # type: ignore[misc]  # the library has no types
        """Counts its steps and looks at each result on the way."""

        def __init__(self) -> None:
            super().__init__()
            self._left = MAX_STEPS

        def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise ExpressionFailed(f"it takes more than {MAX_STEPS} steps")
            result = super().visit(node, *args, **kwargs)
            if isinstance(result, list | dict) and len(result) > MAX_ITEMS:
                raise ExpressionFailed(f"a list in it has more than {MAX_ITEMS} items")
            if isinstance(result, str) and len(result) > MAX_TEXT:
                raise ExpressionFailed(f"a text in it has more than {MAX_TEXT} characters")
            return result

    return Bounded


def _measure(found: Any) -> None:
    """A result may hold the same list a million times over: count it as it would be written."""
    waiting, count = [found], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MAX_RESULT:
            raise ExpressionFailed(f"its result has more than {MAX_RESULT} values")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _words(error: Exception) -> str:
    """The library's message on one line; its own values are the expression's, never more than 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
