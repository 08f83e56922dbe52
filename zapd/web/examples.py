"""One example of each body, for `/openapi.json`. A test reads each as its body."""

from typing import Any

from zapd.web import bodies

#: By the body; of a change by what it changes too.
EXAMPLES: dict[Any, Any] = {
    # messages
    bodies.SendMessage: {"to": "5511999998888", "type": "text", "payload": {"text": "Olá"}},
    bodies.SendBulk: {
        "messages": [
            {"to": "5511999998888", "type": "text", "payload": {"text": "Olá, Ana"}},
            {"to": "5511999997777", "type": "text", "payload": {"text": "Olá, Rui"}, "priority": 3},
        ]
    },
    bodies.Typing: {"to": "5511999998888"},
    # connections
    bodies.CreateConnection: {
        "id": "demo",
        "transport": "sandbox",
        "label": "demo",
        "webhook_url": "https://example.com/hook",
    },
    bodies.UpdateConnection: {"label": "Sales", "config": {"rate_per_minute": 40}},
    bodies.Pair: {"phone": "5511999998888"},
    bodies.SandboxInbound: {"from": "5511999998888", "type": "text", "payload": {"text": "Oi"}},
    bodies.SandboxFaults: {"faults": [{"kind": "rate_limited", "times": 2, "retry_after": 3}]},
    # webhooks
    bodies.CreateEndpoint: {"url": "https://example.com/hook", "types": ["message.*", "connection.state"]},
    bodies.UpdateEndpoint: {"types": ["message.received"], "enabled": True},
    bodies.RotateSecret: {"overlap": 86_400},
    bodies.DropSecrets: {"force": False},
    bodies.RecoverEndpoint: {"since": "2026-11-27T00:00:00Z", "dry_run": True},
    # queues
    bodies.ChangeQueues: {"max_in_flight": 200, "rate": "500/s"},
    bodies.ChangeQueue: {"concurrency": 10, "rate": "20/s", "timeout": None},
    bodies.EnqueueJobs: {
        "jobs": [
            {"payload": {"invoice": 17}},
            {"id": "inv-18", "payload": {"invoice": 18}, "priority": 9, "run_at": "2026-12-01T12:00:00Z"},
        ]
    },
    bodies.PauseQueue: {"kind": "dunning"},
    bodies.ChangeJob: {"priority": 9},
    bodies.CreateSchedule: {
        "id": "invoices",
        "cron": "0 8 * * MON-FRI",
        "timezone": "America/Sao_Paulo",
        "queue": "billing:check",
        "payload": {"run": "daily"},
    },
    bodies.ScheduleSpec: {"every": "5m", "emit": "shop.heartbeat"},
    bodies.ChangeSchedule: {"cron": "0 9 * * *"},
    bodies.CreateBatch: {
        "chain": [
            {"queue": "reports:build", "payload": {"month": "2026-11"}},
            {"queue": "billing:check", "payload": {}},
        ],
        "callback": {"queue": "billing:check", "kind": "report-done", "payload": {"month": "2026-11"}},
    },
    bodies.EditDead: {"payload": {"invoice": 18}},
    bodies.RetryOneDead: {"payload": {"invoice": 18}},
    bodies.RetryDead: {"queue": "billing:check", "rate": 20},
    bodies.CleanQueues: {"queue": "billing:check"},
    # people, keys, tenants
    bodies.CreateContact: {"name": "Ana", "phone": "5511999998888"},
    bodies.UpdateContact: {"opted_out": True},
    bodies.MergeContacts: {"contact_id": "ctc_01M8QZ4T8W9D3X7K2N5P6R0S1V"},
    bodies.CreateKey: {"label": "crm", "scopes": ["read", "send"], "connection_id": "demo"},
    bodies.RotateKey: {"overlap": 3600},
    bodies.CreateTenant: {"id": "acme", "name": "Acme"},
    # events
    bodies.PostEvent: {"type": "lead.created", "data": {"id": 7, "name": "Ana", "phone": "5511999998888"}},
    bodies.ReplayEvents: {"types": ["lead.*"], "since": "2026-11-01T00:00:00Z", "dry_run": True},
    bodies.HowMany: {"limit": 10},
    bodies.RetryQuarantine: {"source": "shop"},
    bodies.CreateSource: {"name": "shop", "verify": "shopify", "secret": "my-shared-secret"},
    (bodies.ChangeDefinition, bodies.CreateSource): {"tolerance": "10m", "dedup": "body.id"},
    bodies.CreateMapping: {"name": "lead", "jmespath": "{name: data.name, phone: data.phone}"},
    (bodies.ChangeDefinition, bodies.CreateMapping): {"jmespath": "{name: data.full_name, phone: data.phone}"},
    bodies.ActivateVersion: {"version": 2},
    bodies.RunBacktest: {"jmespath": "{name: data.full_name}", "types": ["lead.*"]},
    bodies.CreateRoute: {
        "name": "welcome",
        "types": ["lead.created"],
        "actions": [{"kind": "send", "connection": "demo", "to": "{{ data.phone }}", "text": "Olá, {{ data.name }}"}],
    },
    (bodies.ChangeDefinition, bodies.CreateRoute): {"condition": "data.phone", "enabled": True},
    bodies.CreateTarget: {
        "name": "crm",
        "base_url": "https://crm.example.com/api",
        "auth": {"type": "bearer", "token": "t0ken"},
        "rate": "10/s",
    },
    (bodies.ChangeDefinition, bodies.CreateTarget): {"timeout": "20s", "rate": None},
    bodies.CreateSync: {
        "name": "leads",
        "target": "crm",
        "path": "/leads",
        "items": "data",
        "id": "id",
        "type": "lead.created",
    },
    (bodies.ChangeDefinition, bodies.CreateSync): {"max_pages": 100},
}
