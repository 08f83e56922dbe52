"""Contacts, keys, tenants, and what the law asks for."""

from zapd.model.access import Scope
from zapd.web import (
    answers,
    bodies,
    contacts,
    events,
    keys,
    privacy,
    tenants,
)
from zapd.web.answers import Page
from zapd.web.route import Route

READ, CONTROL, ADMIN = Scope.READ, Scope.CONTROL, Scope.ADMIN

PEOPLE: tuple[Route, ...] = (
    # contacts
    Route("GET", "/contacts", contacts.index, READ, query=contacts.ContactsQuery, answer=Page[contacts.ContactAnswer]),
    Route(
        "POST",
        "/contacts",
        contacts.create,
        CONTROL,
        body=bodies.CreateContact,
        answer=contacts.ContactAnswer,
        status=201,
    ),
    Route("GET", "/contacts/{id}", contacts.show, READ, answer=contacts.ContactAnswer),
    Route(
        "PATCH", "/contacts/{id}", contacts.update, CONTROL, body=bodies.UpdateContact, answer=contacts.ContactAnswer
    ),
    Route("DELETE", "/contacts/{id}", contacts.delete, CONTROL, status=204),
    Route(
        "POST",
        "/contacts/{id}/merge",
        contacts.merge,
        CONTROL,
        body=bodies.MergeContacts,
        answer=contacts.ContactAnswer,
    ),
    # keys
    Route("POST", "/keys", keys.create, ADMIN, body=bodies.CreateKey, answer=keys.CreatedKeyAnswer, status=201),
    Route("GET", "/keys", keys.index, ADMIN, query=keys.KeysQuery, answer=Page[answers.KeyAnswer]),
    Route("GET", "/keys/{id}", keys.show, ADMIN, answer=answers.KeyAnswer),
    Route("DELETE", "/keys/{id}", keys.revoke, ADMIN, answer=answers.KeyAnswer),
    Route(
        "POST",
        "/keys/{id}/rotate",
        keys.rotate,
        ADMIN,
        body=bodies.RotateKey,
        answer=keys.CreatedKeyAnswer,
        status=201,
    ),
    # personal data
    Route("GET", "/contacts/{id}/export", privacy.export, ADMIN, answer=privacy.ExportAnswer),
    Route("POST", "/contacts/{id}/erase", privacy.erase, ADMIN, answer=privacy.ErasedAnswer),
    Route("GET", "/privacy/rotation", privacy.rotation, ADMIN, answer=privacy.RotationAnswer, operator=True),
    Route(
        "POST",
        "/privacy/rotation",
        privacy.rotate,
        ADMIN,
        answer=privacy.StartedAnswer,
        status=202,
        operator=True,
    ),
    Route("GET", "/audit", events.audit, ADMIN, query=events.AuditQuery, answer=Page[answers.EventAnswer]),
    Route(
        "POST",
        "/tenants",
        tenants.create,
        ADMIN,
        body=bodies.CreateTenant,
        answer=tenants.CreatedTenantAnswer,
        status=201,
        operator=True,
    ),
    Route(
        "GET",
        "/tenants",
        tenants.index,
        ADMIN,
        query=tenants.TenantsQuery,
        answer=Page[tenants.TenantAnswer],
        operator=True,
    ),
    Route("GET", "/tenants/{id}", tenants.show, ADMIN, answer=tenants.TenantAnswer, operator=True),
    Route(
        "DELETE",
        "/tenants/{id}",
        privacy.erase_tenant,
        ADMIN,
        answer=privacy.StartedAnswer,
        status=202,
        operator=True,
    ),
)
