"""What the composition root derives from the configuration."""

import pytest

from zapd.config.queues import BUILT_IN
from zapd.config.sections import Config, WebhooksConfig
from zapd.parts.queues import settings_of


@pytest.mark.parametrize(("post", "queue", "handler"), [("30s", 30.0, 35.0), ("10s", 30.0, 30.0), ("28s", 30.0, 33.0)])
def test_a_delivery_has_time_to_be_recorded_after_its_post_ran_into_its_timeout(
    post: str, queue: float, handler: float
) -> None:
    queues = {**BUILT_IN, "webhook:delivery": BUILT_IN["webhook:delivery"].model_copy(update={"timeout": queue})}
    config = Config(queues=queues, webhooks=WebhooksConfig.model_validate({"timeout": post}))
    assert settings_of("webhook:delivery", config).timeout == handler


def test_the_other_queues_have_their_own_timeout() -> None:
    assert settings_of("message:send", Config()).timeout == 60.0
