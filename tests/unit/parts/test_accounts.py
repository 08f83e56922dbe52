"""What each transport brings with it."""

from zapd.config.sections import Config
from zapd.model.session import OnAmbiguous, TransportName
from zapd.parts.accounts import kinds_of


def test_every_transport_has_its_own_answer_to_doubt() -> None:
    assert {name: kind.on_ambiguous for name, kind in kinds_of(Config()).items()} == {
        TransportName.SANDBOX: OnAmbiguous.RESEND,  # nobody is bothered twice
        TransportName.CLOUD: OnAmbiguous.VERIFY,  # it tells of what left, under our own id
        TransportName.ZAPI: OnAmbiguous.HOLD,
        TransportName.WEB: OnAmbiguous.HOLD,
    }
