"""What is wrong with a configuration file beyond its keys, without a daemon: rules, and what cannot be imported."""

import os

from zapd.actions.listener import find
from zapd.config import Config
from zapd.config.hub import Listen
from zapd.errors import ConfigError
from zapd.events.checking import Checker
from zapd.events.evaluator import Evaluator
from zapd.events.listeners import Listeners


def listeners_named(config: Config) -> list[str]:
    """The listeners that routes of the file call."""
    actions = [a for defined in config.definitions.values() for a in getattr(defined.spec, "actions", ())]
    return list(dict.fromkeys(action.name for action in actions if isinstance(action, Listen)))


async def problems_of_file(config: Config) -> list[str]:
    """What is wrong with the rules and listeners of a configuration file, beyond the shape that `load` checks."""
    rules = await _problems_of_rules(config) if config.definitions or config.listeners else []
    return [*rules, *_problems_of_queues(config)]


def _problems_of_queues(config: Config) -> list[str]:
    problems: list[str] = []
    for name, queue in config.queues.items():
        if queue.action == "listener":
            try:
                find(queue.listener, key=f'queues."{name}".listener')
            except ConfigError as error:
                problems += error.problems
    return problems


async def _problems_of_rules(config: Config) -> list[str]:
    hub = config.events
    evaluator = Evaluator(cpu=hub.template_cpu, output=hub.template_output, environ=os.environ)
    listeners = Listeners(types=config.listeners, named=listeners_named(config))
    queues = frozenset(name for name, queue in config.queues.items() if queue.action)
    try:
        found = await Checker(evaluator=evaluator, queues=lambda: queues).of_file(config.definitions)
        listeners.load()
        return found
    except ConfigError as error:
        return [*found, *error.problems]
    finally:
        listeners.close()
        await evaluator.close()
