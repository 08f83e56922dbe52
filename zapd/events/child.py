"""The child process in which templates and JSON Schemas run: text from operators, applied to bodies from strangers.

A template can loop for ever or double a string until no memory is left, and a schema can hold a regular expression
that never ends. Nothing inside the daemon could stop that, so they run here: under a limit of processor time for each
task (a signal ends it), a limit of memory for the process, and an output that is counted while it is made. The parent
(`evaluator.py`) kills a child that does not answer.

A frame is 4 bytes of length and JSON. In: `{"do": "render" | "validate", …}`; out: `{"ok": …}` or `{"error": …}`.
"""

import json
import resource
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import FrameType
from typing import Any, BinaryIO
from urllib.parse import quote

MEMORY = 512 * 1024**2  #: bytes of address space
MAX_PATH = 200  #: characters of a path in an error


class TooLong(BaseException):
    """The processor time is used up. Not an Exception, so that no template can swallow it."""


class Refused(Exception):
    """The task failed; the text says why."""


def main() -> None:
    """Work until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _out_of_time)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (task := _read(source)) is not None:
        answer = json.dumps(_answer(task)).encode()
        sink.write(len(answer).to_bytes(4, "big") + answer)
        sink.flush()


def _read(source: BinaryIO) -> Any:
    head = source.read(4)
    return json.loads(source.read(int.from_bytes(head, "big"))) if len(head) == 4 else None


def _answer(task: Mapping[str, Any]) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_VIRTUAL, task["cpu"])
    try:
        return {"ok": _render(task) if task["do"] == "render" else _validate(task)}
    except TooLong:
        return {"error": f"took more than {task['cpu']:g} s of processor time"}
    except MemoryError:
        return {"error": "needs too much memory"}
    except Refused as error:
        return {"error": str(error)}
    except Exception as error:  # whatever an operator's template or schema does, it has an answer
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


# --- templates ---


#: Names of templates in which what comes out of an event must not become markup, or another path.
_HTML, _PATH = "html", "path"


@lru_cache(maxsize=3)
def _environment(purpose: str) -> Any:
    from jinja2 import StrictUndefined  # noqa: PLC0415  # whichever of the two tasks comes first pays for its library only
    from jinja2.filters import FILTERS  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=purpose == _HTML,
        keep_trailing_newline=False,
        finalize=_in_path if purpose == _PATH else None,
    )
    if purpose == _PATH:  # its result is encoded already
        made.filters["urlencode"] = lambda value: Markup(FILTERS["urlencode"](value))
    return made


def _in_path(value: Any) -> Any:
    """A value as a part of a path or query: encoded, unless the template says `|safe`."""
    from markupsafe import Markup  # noqa: PLC0415

    return value if isinstance(value, Markup) else quote(str(value), safe="")


@lru_cache(maxsize=512)
def _template(text: str, purpose: str) -> Any:
    return _environment(purpose).from_string(text)


def _render(task: Mapping[str, Any]) -> dict[str, str]:
    from jinja2 import TemplateError  # noqa: PLC0415

    rendered = {}
    for name, text in task["templates"].items():
        try:
            template = _template(text, name if name in (_HTML, _PATH) else "")
            rendered[name] = "" if task["check_only"] else _bounded(template, task["context"], task["output"])
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise Refused(f"{name}: {error.message or error}" + (f" (line {line})" if line else "")) from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise Refused(f"{name}: {type(error).__name__}: {str(error)[:300]}") from None
    return rendered


def _bounded(template: Any, context: Mapping[str, Any], limit: int) -> str:
    parts, size = [], 0
    for part in template.generate(context):
        size += len(part)
        if size > limit:
            raise Refused(f"makes more than {limit} characters")
        parts.append(part)
    return "".join(parts)


# --- schemas ---


@lru_cache(maxsize=128)
def _validator(schema: str) -> Any:
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    parsed = json.loads(schema)
    kind = validator_for(parsed)
    kind.check_schema(parsed)
    return kind(parsed, registry=Registry())  # a $ref to the network is not followed


def _validate(task: Mapping[str, Any]) -> list[str]:
    """What does not fit, as `path: rule`; the values themselves are left out."""
    validator = _validator(task["schema"])
    if task["value"] is None and task["check_only"]:
        return []
    found = []
    for error in validator.iter_errors(task["value"]):
        path = ".".join(map(str, error.absolute_path))[:MAX_PATH] or "body"
        rule = json.dumps(error.validator_value)[:200]
        found.append(f"{path}: {error.validator} {rule}")
        if len(found) == 10:
            break
    return found


if __name__ == "__main__":
    main()
