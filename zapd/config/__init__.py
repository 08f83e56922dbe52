"""The configuration: TOML, environment and credentials become one frozen `Config`, checked once (DESIGN §9).

`load` reads it. Everybody else gets the values of one section by keyword, never the whole `Config`.
"""

from zapd.config.load import load
from zapd.config.queues import BUILT_IN, QueueConfig
from zapd.config.sections import Config

__all__ = ["BUILT_IN", "Config", "QueueConfig", "load"]
