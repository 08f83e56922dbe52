"""What the composition root derives from the configuration."""

import pytest

from zapd.config.queues import BUILT_IN
from zapd.config.sections import Config, WebhooksConfig
from zapd.jobs.job import Done, Job, Outcome, UnknownKind
from zapd.parts.queues import Work, by_kind, settings_of


@pytest.mark.parametrize(("post", "queue", "handler"), [("30s", 30.0, 35.0), ("10s", 30.0, 30.0), ("28s", 30.0, 33.0)])
def test_a_delivery_has_time_to_be_recorded_after_its_post_ran_into_its_timeout(
    post: str, queue: float, handler: float
) -> None:
    queues = {**BUILT_IN, "webhook:delivery": BUILT_IN["webhook:delivery"].model_copy(update={"timeout": queue})}
    config = Config(queues=queues, webhooks=WebhooksConfig.model_validate({"timeout": post}))
    assert settings_of("webhook:delivery", config).timeout == handler


def test_the_other_queues_have_their_own_timeout() -> None:
    assert settings_of("message:send", Config()).timeout == 60.0


async def test_each_kind_of_job_has_its_work_and_an_unknown_one_is_a_newer_releases() -> None:
    told: list[str] = []

    def work(name: str) -> Work:
        async def handle(_job: Job) -> Outcome:
            told.append(f"{name} done")
            return Done()

        async def mourn(_job: Job, reason: str, _error: str) -> None:
            told.append(f"{name} dead: {reason}")

        return Work(handle, mourn)

    def job(kind: str) -> Job:
        return Job(id="j", queue="q", payload=b"{}", priority=1, created_at=1, kind=kind)

    whole = by_kind({"": work("plain"), "act": work("action")})
    for kind in ("", "act"):
        await whole.handler(job(kind))
        await whole.dead(job(kind), "attempts", "boom")
    with pytest.raises(UnknownKind):
        await whole.handler(job("new"))
    await whole.dead(job("new"), "poison", "")

    assert told == ["plain done", "plain dead: attempts", "action done", "action dead: attempts"]
