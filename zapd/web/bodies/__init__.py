"""Every body that clients send, and how it is read."""

from zapd.web.bodies.access import CreateKey, CreateTenant, RotateKey
from zapd.web.bodies.body import MAX_ITEMS, Body, Id, Label, Moment, Payload, Priority, Seconds
from zapd.web.bodies.connections import (
    ClockTime,
    ConnectionConfig,
    CreateConnection,
    Pair,
    QuietHours,
    UpdateConnection,
)
from zapd.web.bodies.contacts import CreateContact, MergeContacts, UpdateContact
from zapd.web.bodies.dead_letters import EditDead, RetryDead, RetryOneDead
from zapd.web.bodies.endpoints import (
    CreateEndpoint,
    DropSecrets,
    EndpointOptions,
    RecoverEndpoint,
    RotateSecret,
    UpdateEndpoint,
)
from zapd.web.bodies.jobs import BatchCallback, BatchJob, ChangeJob, CreateBatch, EnqueueJobs, JobItem, JobSpec
from zapd.web.bodies.messages import MAX_BULK, SendBulk, SendMessage, Typing, UploadFile
from zapd.web.bodies.queues import ChangeQueue, ChangeQueues, CleanQueues, PauseQueue
from zapd.web.bodies.reading import (
    BODY_TIMEOUT,
    MAX_IDEMPOTENCY_KEY,
    B,
    as_json,
    idempotency_key,
    ms,
    parsed,
    raw,
    whole,
)
from zapd.web.bodies.sandbox import SandboxFaults, SandboxInbound
from zapd.web.bodies.schedules import ChangeSchedule, CreateSchedule, MisfireText, ScheduleSpec, Zone

__all__ = [
    "BODY_TIMEOUT",
    "MAX_BULK",
    "MAX_IDEMPOTENCY_KEY",
    "MAX_ITEMS",
    "B",
    "BatchCallback",
    "BatchJob",
    "Body",
    "ChangeJob",
    "ChangeQueue",
    "ChangeQueues",
    "ChangeSchedule",
    "CleanQueues",
    "ClockTime",
    "ConnectionConfig",
    "CreateBatch",
    "CreateConnection",
    "CreateContact",
    "CreateEndpoint",
    "CreateKey",
    "CreateSchedule",
    "CreateTenant",
    "DropSecrets",
    "EditDead",
    "EndpointOptions",
    "EnqueueJobs",
    "Id",
    "JobItem",
    "JobSpec",
    "Label",
    "MergeContacts",
    "MisfireText",
    "Moment",
    "Pair",
    "PauseQueue",
    "Payload",
    "Priority",
    "QuietHours",
    "RecoverEndpoint",
    "RetryDead",
    "RetryOneDead",
    "RotateKey",
    "RotateSecret",
    "SandboxFaults",
    "SandboxInbound",
    "ScheduleSpec",
    "Seconds",
    "SendBulk",
    "SendMessage",
    "Typing",
    "UpdateConnection",
    "UpdateContact",
    "UpdateEndpoint",
    "UploadFile",
    "Zone",
    "as_json",
    "idempotency_key",
    "ms",
    "parsed",
    "raw",
    "whole",
]
