"""An image's configuration in Docker's JSON <-> the values that this room works with.

The keys are those of https://github.com/opencontainers/image-spec/blob/main/config.md with Docker's additions (Shell,
OnBuild, Healthcheck). What a document says is somebody else's: every type is checked, nothing in it is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Health, ImageConfig, Late, Value

_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")
# Of a health check, as Docker calls what `Health` calls so.
_HEALTH = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start_period",
    "StartInterval": "start_interval",
    "Retries": "retries",
}
_HINT = "give the image's configuration as `docker inspect IMAGE` or the registry prints it"


def config_from_docker(document: object) -> ImageConfig:
    """The configuration in a registry's image configuration, an inner `config`, or the answer of `docker inspect`.

    RecipeError, without file and line, if it has another form.
    """
    outer = document[0] if isinstance(document, list) and len(document) == 1 else document
    if not isinstance(outer, Mapping):
        raise _unusable("it is no JSON object")
    inner = outer.get("config", outer.get("Config", outer))
    fields = {} if inner is None else inner
    if not isinstance(fields, Mapping):
        raise _unusable("its config is no JSON object")
    return ImageConfig(
        environment=tuple(_variables(fields)),
        labels=tuple((name, _text(value, "Labels")) for name, value in _mapping(fields, "Labels").items()),
        entrypoint=_words(fields, "Entrypoint"),
        command=_words(fields, "Cmd"),
        folder=_string(fields, "WorkingDir"),
        user=_string(fields, "User"),
        shell=_words(fields, "Shell") or (),
        onbuild=_words(fields, "OnBuild") or (),
        ports=tuple(_mapping(fields, "ExposedPorts")),
        volumes=tuple(_mapping(fields, "Volumes")),
        stop_signal=_string(fields, "StopSignal"),
        health=_health(_mapping(fields, "Healthcheck")),
        author=_string(outer, "author") or _string(outer, "Author"),
    )


def as_docker(config: ImageConfig) -> dict[str, object]:
    """The same in Docker's keys, "Author" among them; what nothing sets is left out.

    A value that the build completes stands there with its variables unexpanded: `/opt/bin:${PATH}`.
    """
    fields: dict[str, object] = {
        "Env": [f"{name}={_shown(value)}" for name, value in config.environment],
        "Labels": dict(config.labels),
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "Cmd": None if config.command is None else list(config.command),
        "WorkingDir": config.folder,
        "User": config.user,
        "Shell": list(config.shell),
        "OnBuild": list(config.onbuild),
        "ExposedPorts": {port: {} for port in config.ports},
        "Volumes": {volume: {} for volume in config.volumes},
        "StopSignal": config.stop_signal,
        "Healthcheck": _shown_health(config.health),
        "Author": config.author,
    }
    meaningful_if_empty = ("Entrypoint", "Cmd")
    return {
        key: value
        for key, value in fields.items()
        if value or (key in meaningful_if_empty and value is not None)
    }


def _shown(value: Value) -> str:
    if isinstance(value, Late):
        return "".join(f"${{{part}}}" if at % 2 else part for at, part in enumerate(value.parts))
    return value


def _health(fields: Mapping[str, object]) -> Health | None:
    test = _words(fields, "Test")
    numbers = {field: _number(fields, key) for key, field in _HEALTH.items()}
    return Health(test=test or (), **numbers) if test or any(numbers.values()) else None


def _shown_health(health: Health | None) -> dict[str, object]:
    if health is None:
        return {}
    fields = {"Test": list(health.test), **{key: getattr(health, field) for key, field in _HEALTH.items()}}
    return {key: value for key, value in fields.items() if value}


def _variables(fields: Mapping[str, object]) -> list[tuple[str, Value]]:
    found: dict[str, Value] = {}
    for entry in _words(fields, "Env") or ():
        name, _, value = entry.partition("=")
        if name:
            found[name] = value
    return list(found.items())


def _words(fields: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _unusable(f"{key} is no list")
    return tuple(_text(word, key) for word in value)


def _mapping(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _unusable(f"{key} is no JSON object")
    return {_text(name, key): inner for name, inner in value.items()}


def _string(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return "" if value is None else _text(value, key)


def _number(fields: Mapping[str, object], key: str) -> int:
    value = fields.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unusable(f"{key} holds {value!r:.80}, which is no whole number")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise _unusable(f"{key} holds {value!r:.80}, which is no text")
    if _UNUSABLE.search(value):
        raise _unusable(f"{key} holds a control character")
    return value


def _unusable(why: str) -> RecipeError:
    return RecipeError(f"the image's configuration cannot be read: {why}", hint=_HINT)
