"""Where settings come from. The first that names a key wins:

1. flags of the command line (`--state-dir`, `--listen`)
2. environment `ZAPD_SECTION__KEY`; a queue's name with `_` for `:`, as in `ZAPD_QUEUES__MESSAGE_SEND__ATTEMPTS`
3. files in `$CREDENTIALS_DIRECTORY` (systemd's LoadCredential)
4. environment that other software uses as well: REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, DATABASE_URL
5. the file
6. `$STATE_DIRECTORY` (systemd's StateDirectory) for a `state.dir` that is empty or not given
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zapd.errors import ConfigError

Keys = tuple[str, ...]  #: ("http", "listen") or ("queues", "message:send", "attempts")


@dataclass(frozen=True)
class Setting:
    """One value and, unless it stands in the file, who gave it."""

    value: object
    origin: str = ""


Settings = dict[Keys, Setting]

_PREFIX = "ZAPD_"
_STATE_DIR: Keys = ("state", "dir")
_CREDENTIALS: Mapping[str, Keys] = {
    "redis_url": ("redis", "url"),
    "redis_password": ("redis", "password"),
    "database_url": ("database", "url"),
}
_DATA_KEY = "data_key"  #: the one credential that is handed on as a path: the vault reads the file itself


def gather(
    path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object], queues: Iterable[str]
) -> Settings:
    """Every setting that anybody gave, the strongest source on top. Raises ConfigError when a file cannot be read."""
    settings = _file(path) if path else {}
    settings |= _common_environment(environ)
    settings |= _credentials(environ)
    known = {*queues, *(keys[1] for keys in settings if keys[0] == "queues" and len(keys) > 1)}
    settings |= _own_environment(environ, known)
    settings |= {tuple(key.split(".")): Setting(value, "the command line") for key, value in overrides.items()}
    return _with_state_directory(settings, environ)


def _with_state_directory(settings: Settings, environ: Mapping[str, str]) -> Settings:
    if settings.get(_STATE_DIR, Setting("")).value != "":
        return settings
    rest = {keys: setting for keys, setting in settings.items() if keys != _STATE_DIR}
    directory = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd lists several with colons
    return rest | ({_STATE_DIR: Setting(directory, "STATE_DIRECTORY")} if directory else {})


def _file(path: Path) -> Settings:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: should be UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:  # its text ends with the line and the column
        raise ConfigError(f"{path}: {error}") from error
    return {keys: Setting(value) for keys, value in _flatten(document, (), depth=2)}


def _flatten(table: Mapping[str, object], above: Keys, depth: int) -> Iterable[tuple[Keys, object]]:
    for key, value in table.items():
        deeper = depth + 1 if (*above, key) in (("queues",), ("schedules",)) else depth
        if isinstance(value, dict) and value and len(above) + 1 < deeper:
            yield from _flatten(value, (*above, key), deeper)
        else:
            yield (*above, key), value


def _common_environment(environ: Mapping[str, str]) -> Settings:
    found: Settings = {}
    host, port = environ.get("REDIS_HOST"), environ.get("REDIS_PORT")
    if host or port:
        names = " and ".join(name for name in ("REDIS_HOST", "REDIS_PORT") if environ.get(name))
        found["redis", "url"] = Setting(f"redis://{host or '127.0.0.1'}:{port or '6379'}/0", names)
    if environ.get("REDIS_PASSWORD"):
        found["redis", "password"] = Setting(environ["REDIS_PASSWORD"], "REDIS_PASSWORD")
    if environ.get("DATABASE_URL"):
        found["database", "url"] = Setting(environ["DATABASE_URL"], "DATABASE_URL")
    return found


def _credentials(environ: Mapping[str, str]) -> Settings:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    found: Settings = {}
    for name, keys in _CREDENTIALS.items():
        file = Path(directory, name)
        if file.exists():
            found[keys] = Setting(_secret(file), f"the credential {name}")
    if Path(directory, _DATA_KEY).exists():
        found["state", "data_key_file"] = Setting(str(Path(directory, _DATA_KEY)), f"the credential {_DATA_KEY}")
    return found


def _secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or 'should be UTF-8 text'}") from error


def with_secrets(value: object, environ: Mapping[str, str]) -> object:
    """The value with every `env:NAME` and `credential:NAME` in it read. Raises LookupError naming what is missing."""
    if isinstance(value, dict):
        return {key: with_secrets(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [with_secrets(item, environ) for item in value]
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "env" and re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        if name not in environ:
            raise LookupError(f"env:{name} is not set")
        return environ[name]
    if kind == "credential" and re.fullmatch(r"[A-Za-z0-9._-]+", name):
        file = Path(environ.get("CREDENTIALS_DIRECTORY", ""), name)
        if not environ.get("CREDENTIALS_DIRECTORY") or not file.exists():
            raise LookupError(f"there is no credential {name}")
        return _secret(file)
    return value


def _own_environment(environ: Mapping[str, str], queues: Iterable[str]) -> Settings:
    by_variable = {re.sub(r"[^a-z0-9]", "_", name): name for name in queues}
    found: Settings = {}
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or "__" not in name:
            continue  # ZAPD_URL and the like belong to the command line's client
        section, *rest = name.split("__", 2 if name.startswith("queues__") else 1)
        if section == "queues":
            rest[0] = by_variable.get(rest[0], rest[0])
        found[section, *rest] = Setting(value, variable)
    return found
