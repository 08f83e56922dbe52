"""Tenants: customers with keys, connections and endpoints of their own. For the operator of the daemon only."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import Conflict, NotFound
from zapd.model.access import Scope, Tenant
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query


class TenantsQuery(IdPage):
    """Which tenants, by id."""

    after: str | None = after_id("ten")


class TenantAnswer(TypedDict):
    """A tenant."""

    id: str
    name: str
    created_at: Time


class CreatedTenantAnswer(TenantAnswer):
    """`key` is the token of the tenant's first key, which makes its others; it is shown this once."""

    key_id: str
    key: str


async def create(request: web.Request) -> web.Response:
    """Make a tenant and its first key."""
    body = await bodies.parsed(request, bodies.CreateTenant)
    tenant_id, now = body.id or request.app[need.IDS].new("ten"), request.app[need.NOW_MS]()
    if await request.app[need.COMMIT](request.app[need.TENANTS].ensured(tenant_id, body.name, now)) is None:
        raise Conflict(f"there is a tenant {tenant_id} already")
    # A crash here leaves a tenant without a key; `POST /keys` with its id makes one.
    key, token = await request.app[need.KEYRING].create(
        tenant=tenant_id, label=f"{body.name}: first key", scopes=frozenset({Scope.ADMIN})
    )
    shown = CreatedTenantAnswer(id=tenant_id, name=body.name, created_at=iso(now), key_id=key.id, key=token)
    return answer(shown, 201)


async def index(request: web.Request) -> web.Response:
    """The tenants."""
    query = parsed_query(request, TenantsQuery)
    found = await request.app[need.TENANTS].listed(after=query.after, limit=query.limit + 1)
    return answer(page(found, query.limit, shown, by_id("ten")))


async def show(request: web.Request) -> web.Response:
    """One tenant."""
    return answer(shown(await existing(request, request.match_info["id"])))


async def existing(request: web.Request, tenant_id: str) -> Tenant:
    """The tenant. Raises NotFound."""
    tenant = await request.app[need.TENANTS].get(tenant_id)
    if tenant is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    return tenant


def shown(tenant: Tenant) -> TenantAnswer:
    """As the API shows it."""
    return {"id": tenant.id, "name": tenant.name, "created_at": iso(tenant.created_at)}
