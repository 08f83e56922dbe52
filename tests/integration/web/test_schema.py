"""Calls that schemathesis makes up from /openapi.json, right ones and wrong ones: none is answered with a 5xx."""

import asyncio
import warnings
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLS = 6  #: for each route, right and wrong ones each
#: Streams that do not end, and what would stop the rest of the test.
LEFT_OUT = {"GET /stream"}
#: Said by the daemon itself when a resource is away, and by routes that reach out; not a crash.
EXPLAINED = frozenset({502, 503, 504})


def probe(document: dict[str, Any], url: str, key: str) -> tuple[int, list[str]]:
    """How many calls were made, and those that were answered with a crash."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis
        from schemathesis import GenerationMode

        schema: Any = schemathesis.openapi.from_dict(document)
        operations = [found.ok() for found in schema.get_all_operations()]
        crashed: list[str] = []
        made = 0
        session = requests.Session()

        def call(operation: Any, case: Any) -> None:
            nonlocal made
            made += 1
            try:
                answer = case.call(
                    base_url=url, session=session, timeout=20, headers={"Authorization": f"Bearer {key}"}
                )
            except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
                return  # it cannot be written as HTTP at all
            if answer.status_code >= 500 and answer.status_code not in EXPLAINED:
                crashed.append(f"{operation.label} {answer.status_code}: {case.as_curl_command()[:600]}")

        for operation in operations:
            if operation.label in LEFT_OUT:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _run(operation, mode, call)
        return made, crashed


def _run(operation: Any, mode: Any, call: Any) -> None:
    @settings(
        max_examples=CALLS,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        call(operation, case)

    try:
        run()
    except Exception as error:
        if "Unsatisfiable" not in type(error).__name__:  # a route without parameters cannot be called wrongly
            raise


async def test_no_call_made_of_the_document_is_answered_with_a_crash(daemon: Daemon) -> None:
    status, document = await daemon.call("GET", "/openapi.json")
    assert status == 200
    made, crashed = await asyncio.to_thread(probe, document, daemon.url, daemon.key)
    assert made > 500
    assert "request.crashed" not in daemon.log_text(), [
        line for line in daemon.log_lines() if line.get("event") == "request.crashed"
    ][:3]
    assert crashed == []
