"""What providers said of their templates."""

from dataclasses import dataclass

import sqlalchemy as sa

from zapd.store.commands import Change, Delete, Insert, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import templates

_T = templates.c
_KEY = (_T.tenant, _T.account, _T.name, _T.language)
_TOLD = Insert(table=templates, columns=tuple(_T), key=4, when_there="replace")
_GONE = Delete(table=templates, columns=_KEY, key=4)
_BY_NAME = by_key(templates, _KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A template of a business account, in one language. `until`: a pause that ends by itself. Times in ms."""

    tenant: str
    account: str
    name: str
    language: str
    state: str  #: the provider's word, in small letters
    reason: str | None
    since: int
    until: int | None


class TemplateStore:
    """The templates of all tenants, those of which anything was heard."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def told(template: Template) -> Change:
        """This is how it is now."""
        t = template
        return Change(_TOLD, (t.tenant, t.account, t.name, t.language, t.state, t.reason, t.since, t.until))

    @staticmethod
    def gone(template: Template) -> Change:
        """Nothing is known of it any more. As a guard it has a row where there was something."""
        return Change(_GONE, (template.tenant, template.account, template.name, template.language))

    async def get(self, tenant: str, account: str, name: str, language: str) -> Template | None:
        """What was said last of this one."""
        row = await self._reader.one(_BY_NAME, (tenant, account, name, language))
        return None if row is None else Template(**dict(zip([c.name for c in _T], row, strict=True)))

    async def listed(self, tenant: str, account: str, *, after: tuple[str, str] | None, limit: int) -> list[Template]:
        """A page of an account's, by name and language."""
        query = sa.select(*_T).where(_T.tenant == tenant, _T.account == account)
        if after is not None:
            name, language = after
            query = query.where(sa.or_(_T.name > name, sa.and_(_T.name == name, _T.language > language)))
        rows = await self._database.fetch(query.order_by(_T.name, _T.language).limit(limit))
        return [Template(**dict(zip([c.name for c in _T], row, strict=True))) for row in rows]
