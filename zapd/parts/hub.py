"""The event hub: sources, rules, actions, targets, replay."""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any

from zapd.announce import Announcement
from zapd.config import Config
from zapd.errors import ConfigError
from zapd.events.acting import Actor
from zapd.events.backtest import Backtest
from zapd.events.checking import Checker
from zapd.events.defining import Definer
from zapd.events.desk import Desk
from zapd.events.doing import Doers
from zapd.events.email import Mailer
from zapd.events.envelope import ACT, PROCESS, REPLAY, SELFTEST, SYNC, Envelopes
from zapd.events.evaluator import Evaluator
from zapd.events.ingest import Ingest
from zapd.events.intake import Intake
from zapd.events.listeners import Listeners
from zapd.events.metrics import HubMetrics
from zapd.events.planning import Planner
from zapd.events.processing import Processor
from zapd.events.quarantine import Quarantine
from zapd.events.registry import Registry
from zapd.events.replaying import REDELIVER, Replayer
from zapd.events.standing_templates import StandingTemplates
from zapd.events.syncing import Syncer
from zapd.events.targets import Targets
from zapd.jobs.job import Job, Outcome
from zapd.messaging.submit import Messaging
from zapd.model.access import DEFAULT_TENANT
from zapd.model.hub import Progress
from zapd.model.webhook import Category
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.hub_file import listeners_named
from zapd.parts.hub_links import Links
from zapd.parts.network import Network
from zapd.parts.paces import burst_of_a_minute, burst_of_a_second
from zapd.parts.queues import Work, by_kind
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks


class Hub:
    """What takes events in, applies the rules, and does what they ask for."""

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        network: Network,
        engine: Engine,
        webhooks: Webhooks,
        messaging: Callable[[], Messaging],
    ) -> None:
        self._basis = basis
        self._config = config = basis.config
        self._storage = storage
        self._engine = engine
        self._webhooks = webhooks
        self._links = Links(config, storage, network, webhooks, messaging)
        self._commit = engine.outbox.commit
        self._priority = config.queues["event:process"].priority
        self.metrics = HubMetrics(registry=basis.registry)
        self.registry = Registry(rows=storage.definitions, from_file=config.definitions)
        self.listeners = Listeners(types=config.listeners, named=listeners_named(config))
        hub = config.events
        self.evaluator = Evaluator(cpu=hub.template_cpu, output=hub.template_output, environ=os.environ)
        self.targets = Targets(
            registry=self.registry,
            resolver=network.resolver,
            new_pace=burst_of_a_second,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self._envelopes = Envelopes(
            ids=basis.ids, events=storage.events, states=storage.event_states, priority=self._priority
        )
        self._build_rules()
        self._build_entries()
        self.actor = self._actor()
        self._build_replay()
        self.desk = Desk(
            states=storage.event_states,
            actions=storage.actions,
            processor=self.processor,
            actor=self.actor,
            replayer=self.replayer,
            now_ms=now_ms,
        )

    def _build_rules(self) -> None:
        storage, basis = self._storage, self._basis
        self.checker = Checker(evaluator=self.evaluator, queues=self._links.own_queues)
        self.definer = Definer(
            rows=storage.definitions,
            registry=self.registry,
            checker=self.checker,
            endpoint_known=lambda tenant, name: self._webhooks.fanout.enabled(tenant, name) is not None,
            listener_known=self.listeners.knows,
            vet=self._links.vet,
            commit=storage.writer.commit,
            now_ms=now_ms,
        )
        self.planner = Planner(
            registry=self.registry,
            evaluator=self.evaluator,
            listeners=self.listeners.of,
            seal=self._links.seal,
            ids=basis.ids,
            now_ms=now_ms,
        )
        self.processor = Processor(
            events=storage.events,
            states=storage.event_states,
            actions=storage.actions,
            planner=self.planner,
            envelopes=self._envelopes,
            job_of=lambda row: self.actor.job_of(row),
            fan_out=self._webhooks.fanout.changes,
            announcer=self._webhooks.announcer,
            commit=self._commit,
            now_ms=now_ms,
            max_depth=self._config.events.max_depth,
            metrics=self.metrics,
        )

    def _build_entries(self) -> None:
        storage = self._storage
        self.intake = Intake(
            envelopes=self._envelopes,
            events=storage.events,
            idempotency=storage.idempotency,
            commit=self._commit,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.quarantine = Quarantine(
            rows=storage.quarantine,
            registry=self.registry,
            ingest=lambda: self.ingest,
            commit=storage.writer.commit,
            ids=self._basis.ids,
            now_ms=now_ms,
            keep=self._config.events.quarantine_rows,
        )
        self.ingest = Ingest(
            registry=self.registry,
            envelopes=self._envelopes,
            states=storage.event_states,
            evaluator=self.evaluator,
            commit=self._commit,
            refused=self.quarantine.keep,
            new_pace=burst_of_a_minute,
            now_ms=now_ms,
            metrics=self.metrics,
        )

    def _actor(self) -> Actor:
        storage, queues = self._storage, self._config.queues
        return Actor(
            doers=self._doers().by_kind(),
            actions=storage.actions,
            events=storage.events,
            states=storage.event_states,
            planner=self.planner,
            announcer=self._webhooks.announcer,
            commit=self._commit,
            ids=self._basis.ids,
            now_ms=now_ms,
            random=random.random,
            priorities={name: queue.priority for name, queue in queues.items()},
            metrics=self.metrics,
        )

    def _doers(self) -> Doers:
        hub, mail = self._config.events, self._config.email
        mailer = Mailer(
            host=mail.host,
            port=mail.port,
            tls=mail.tls,
            user=mail.user,
            password=mail.password,
            sender=mail.from_,
            timeout=mail.timeout,
        )
        standing = StandingTemplates(
            directory=hub.templates,
            email_to=hub.email_to,
            whatsapp_to=hub.whatsapp_to,
            connection=hub.whatsapp_connection,
            render=self.evaluator.render,
        )
        return Doers(
            targets=self.targets,
            mailer=mailer,
            listeners=self.listeners,
            standing=standing,
            envelopes=self._envelopes,
            submit=self._links.submit,
            submitted=self._links.submitted,
            post=self._links.post,
            unseal=self._links.unseal,
            deliver_to=self._webhooks.fanout.only,
            own_queues=self._links.own_queues,
            start_sync=lambda tenant, name: self.syncer.start(tenant, name),
            now_ms=now_ms,
        )

    def _build_replay(self) -> None:
        storage, basis = self._storage, self._basis
        self.backtest = Backtest(planner=self.planner, events=storage.events, states=storage.event_states)
        self.replayer = Replayer(
            events=storage.events,
            states=storage.event_states,
            planner=self.planner,
            envelopes=self._envelopes,
            redeliver=self._links.redeliver,
            announcer=self._webhooks.announcer,
            commit=self._commit,
            add=self._engine.outbox.add,
            ids=basis.ids,
            now_ms=now_ms,
            priority=self._priority,
            metrics=self.metrics,
        )
        self.syncer = Syncer(
            registry=self.registry,
            targets=self.targets,
            envelopes=self._envelopes,
            states=storage.event_states,
            settings=storage.settings,
            announcer=self._webhooks.announcer,
            commit=self._commit,
            ids=basis.ids,
            now_ms=now_ms,
            priority=self._priority,
        )

    # --- what its jobs do ---

    def process_work(self) -> Work:
        """The work of event:process."""

        async def selftest(job: Job) -> Outcome:
            return await self.replayer.selftest(job, count=self._config.events.selftest_events)

        return by_kind(
            {
                PROCESS: Work(self.processor.handle, self.processor.dead),
                ACT: self.acting(),
                REPLAY: Work(self.replayer.handle),
                REDELIVER: Work(self.replayer.one),
                SYNC: Work(self.syncer.handle, self.syncer.dead),
                SELFTEST: Work(selftest),
            }
        )

    def acting(self) -> Work:
        """The work of an action, on whichever queue it is done."""
        return Work(self.actor.handle, self.actor.dead)

    # --- start, stop, numbers ---

    async def open(self) -> None:
        """Load the listeners and the definitions. Raises ConfigError naming what is wrong with the file's."""
        self.listeners.load()
        problems = await self.checker.of_file(self._config.definitions)
        if problems:
            raise ConfigError(*problems)
        await self.registry.refresh()

    async def problems(self, config: Config) -> list[str]:
        """Why the definitions of another configuration file cannot be taken by the running daemon."""
        unloaded = [name for name in listeners_named(config) if not self.listeners.knows(name)]
        return [
            *await self.checker.of_file(config.definitions),
            *[f"routes: the listener {name} is loaded by a restart only" for name in unloaded],
        ]

    async def close(self) -> None:
        """Let go of connections, threads and the child process."""
        await self.targets.close()
        await self.evaluator.close()
        self.listeners.close()

    async def look(self) -> None:
        """Count what waits, for the metrics."""
        for progress, waiting in self.metrics.waiting.items():
            waiting.set(await self._storage.event_states.count(progress))
        for state, unfinished in self.metrics.open.items():
            unfinished.set(await self._storage.actions.count(state))
        self.metrics.quarantine.set(await self._storage.quarantine.count())

    def announced(self, event_type: str, *, tenant: str, at: int, data: Mapping[str, Any]) -> Announcement:
        """An own event, for a schedule: what must be committed for it to have happened."""
        made = self._envelopes.made(tenant=tenant, type=event_type, data=data, category=Category.OWN, at=at)
        jobs = [self._envelopes.job(made.state)]
        return Announcement(changes=self._envelopes.changes(made), jobs=jobs, event_id=made.event.id)

    async def process_default(self, limit: int) -> int:
        """Take events of the default tenant through the rules; returns how many."""
        return (await self.desk.process(DEFAULT_TENANT, limit))["processed"]

    async def pending(self, tenant: str, event_id: str) -> bool:
        """Whether an event still waits for the rules."""
        state = await self._storage.event_states.get(tenant, event_id)
        return state is not None and state.progress is Progress.PENDING
