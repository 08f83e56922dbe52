"""The advertisement that brought a contact into the chat: as Z-API and WhatsApp Web write it → Meta's words."""

from collections.abc import Mapping
from typing import Any

_WORDS: Mapping[str, str] = {
    "sourceUrl": "source_url",
    "sourceURL": "source_url",
    "sourceId": "source_id",
    "sourceID": "source_id",
    "sourceType": "source_type",
    "title": "headline",
    "body": "body",
    "mediaType": "media_type",
    "thumbnailUrl": "thumbnail_url",
    "thumbnailURL": "thumbnail_url",
    "ctwaClid": "ctwa_clid",
}


def referral(told: object) -> dict[str, Any]:
    """What a payload gets: `referral` with what is known, or nothing."""
    ad = told if isinstance(told, dict) else {}
    known = {ours: ad[theirs] for theirs, ours in _WORDS.items() if isinstance(ad.get(theirs), str) and ad[theirs]}
    return {"referral": known} if known else {}
