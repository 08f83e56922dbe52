"""What a key may do, and until when."""

import pytest

from zapd.model.access import ApiKey, Scope


def key(*scopes: Scope, expires_at: int | None = None, revoked_at: int | None = None) -> ApiKey:
    return ApiKey(
        tenant="default",
        id="key_1",
        hash=b"",
        label="",
        scopes=frozenset(scopes),
        connection_id=None,
        created_at=0,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


@pytest.mark.parametrize("scope", Scope)
def test_admin_may_do_everything(scope: Scope) -> None:
    assert key(Scope.ADMIN).allows(scope)


@pytest.mark.parametrize("scope", sorted(set(Scope) - {Scope.SEND}))
def test_any_other_scope_allows_only_itself(scope: Scope) -> None:
    assert key(Scope.SEND).allows(Scope.SEND)
    assert not key(Scope.SEND).allows(scope)


def test_a_key_lives_until_it_expires_or_is_revoked() -> None:
    assert key(expires_at=100).live(99)
    assert not key(expires_at=100).live(100)
    assert not key(revoked_at=1).live(99)
    assert key().live(99)
