"""What is wrong with a definition beyond its shape: expressions, templates, schemas, keys, and missing names."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence

from zapd.announce import PUBLIC
from zapd.config.hub import (
    Action,
    Defined,
    Deliver,
    Email,
    Emit,
    Enqueue,
    Listen,
    MappingSpec,
    Notify,
    RouteSpec,
    RunFlow,
    Send,
    SourceSpec,
    Spec,
    StartSync,
    SyncSpec,
    TargetSpec,
)
from zapd.errors import FieldError
from zapd.events.evaluator import Evaluator
from zapd.events.expressions import BadExpression, check, check_event_type
from zapd.webhooks.guard import Blocked
from zapd.webhooks.signature import key_of
from zapd.webhooks.target import target_of

#: (kind, name) → whether such a thing is defined.
Known = Callable[[str, str], bool]


_ELSEWHERE = ("endpoint", "listener")  # what a file names and is not one of its definitions


class Checker:
    """Looks at definitions before they are in force."""

    def __init__(self, *, evaluator: Evaluator, queues: Callable[[], frozenset[str]]) -> None:
        self._evaluator = evaluator
        self._queues = queues

    async def problems(self, spec: Spec, known: Known) -> list[FieldError]:
        """Every problem, by field."""
        found = list(self._static(spec, known))
        if not found:
            found += await self._tried(spec)
        return found

    async def of_file(self, definitions: Mapping[tuple[str, str], Defined]) -> list[str]:
        """Every problem of what the configuration file defines, a line for each."""
        lines = []
        for (kind, name), defined in definitions.items():
            problems = await self.problems(defined.spec, lambda k, n: (k, n) in definitions or k in _ELSEWHERE)
            lines += [f'{kind}s."{name}".{problem.field}: {problem.rule}' for problem in problems]
        return lines

    def _static(self, spec: Spec, known: Known) -> Iterator[FieldError]:
        match spec:
            case SourceSpec():
                yield from _source(spec, known)
            case MappingSpec():
                yield from _expression("jmespath", spec.jmespath)
            case RouteSpec():
                yield from _expression("condition", spec.condition)
                for number, action in enumerate(spec.actions):
                    for problem in self._action(action, known):
                        yield FieldError(f"actions.{number}.{problem.field}", problem.rule)
            case TargetSpec():
                yield from _url("base_url", spec.base_url)
                yield from _url("auth.token_url", getattr(spec.auth, "token_url", ""))
            case SyncSpec():
                for field, text in (("items", spec.items), ("id", spec.id), ("cursor", spec.cursor)):
                    yield from _expression(field, text)
                if not known("target", spec.target):
                    yield FieldError("target", f"there is no target {spec.target}")

    def _action(self, action: Action, known: Known) -> Iterator[FieldError]:
        yield from _expression("condition", action.condition)
        if action.mapping and not known("mapping", action.mapping):
            yield FieldError("mapping", f"there is no mapping {action.mapping}")
        match action:
            case Deliver(target=str(name)) if not known("target", name):
                yield FieldError("target", f"there is no target {name}")
            case Deliver(endpoint=str(name)) if not known("endpoint", name):
                yield FieldError("endpoint", f"there is no endpoint {name}")
            case Enqueue(queue=name) if name not in self._queues():
                yield FieldError("queue", "should be a queue that the configuration defines")
            case StartSync(sync=name) if not known("sync", name):
                yield FieldError("sync", f"there is no sync {name}")
            case Listen(name=name) if not known("listener", name):
                yield FieldError("name", f"there is no listener {name} in [listeners] or the file's routes")
            case Emit(type=name) if name in PUBLIC:
                yield FieldError("type", "is one of zapd's own; receivers must be able to trust those")
            case Notify(url=url):
                yield from _url("url", url)
            case RunFlow():
                yield FieldError("kind", "flows come in a later release")

    async def _tried(self, spec: Spec) -> list[FieldError]:
        """What only the library itself can tell: templates and schemas, in the child process."""
        templates: dict[str, str] = {}
        if isinstance(spec, MappingSpec) and spec.jinja2:
            templates["jinja2"] = spec.jinja2
        if isinstance(spec, RouteSpec):
            for number, action in enumerate(spec.actions):
                templates |= {f"actions.{number}.{name}": text for name, text in texts_of(action).items() if text}
        found = []
        for field, text in templates.items():
            try:
                await self._evaluator.render({field: text}, {}, check_only=True)
            except BadExpression as error:
                found.append(FieldError(field, str(error).removeprefix(f"{field}: ")))
        if isinstance(spec, SourceSpec) and spec.schema_ is not None:
            try:
                await self._evaluator.validate(spec.schema_, None, check_only=True)
            except BadExpression as error:
                found.append(FieldError("schema", str(error)))
        return found


def urls_of(spec: Spec) -> Mapping[str, str]:
    """Every URL that it lets zapd call, by field."""
    match spec:
        case TargetSpec():
            return {"base_url": spec.base_url, "auth.token_url": getattr(spec.auth, "token_url", "")}
        case RouteSpec():
            return {f"actions.{n}.url": a.url for n, a in enumerate(spec.actions) if isinstance(a, Notify)}
    return {}


def texts_of(action: Action) -> Mapping[str, str]:
    """The templates of an action, by field."""
    match action:
        case Deliver():
            return {"path": action.path}
        case Send():
            return {"connection": action.connection, "to": action.to, "text": action.text}
        case Email():
            return {"to": action.to, "subject": action.subject, "text": action.text, "html": action.html}
        case Notify():
            return {"text": action.text}
        case Emit() | Listen() | Enqueue():
            return {}
    return {}


def _source(spec: SourceSpec, known: Known) -> Iterator[FieldError]:
    if spec.type:
        try:
            check_event_type(spec.type)
        except BadExpression as error:
            yield FieldError("type", str(error))
    kind, _, name = spec.dedup.partition(":")
    if spec.dedup and spec.dedup != "none" and not (kind == "header" and name):
        yield from _expression("dedup", spec.dedup)
    if spec.mapping and not known("mapping", spec.mapping):
        yield FieldError("mapping", f"there is no mapping {spec.mapping}")
    if spec.verify == "standard-webhooks":
        yield from _standard_keys(spec.live_secrets)


def _standard_keys(secrets: Sequence[str]) -> Iterator[FieldError]:
    for secret in secrets:
        try:
            if secret.startswith("whpk_"):
                if len(base64.b64decode(secret[5:], validate=True)) != 32:
                    raise ValueError("must be whpk_ and base64 of 32 bytes")
            else:
                key_of(secret)
        except (binascii.Error, ValueError) as error:
            yield FieldError("secret", str(error))


def _expression(field: str, text: str) -> Iterator[FieldError]:
    if not text:
        return
    try:
        check(text)
    except BadExpression as error:
        yield FieldError(field, str(error))


def _url(field: str, url: str) -> Iterator[FieldError]:
    if not url:
        return
    try:
        target_of(url)
    except Blocked as error:
        yield FieldError(field, str(error))
