"""Reads the YAML file, lays `ASAHI_*` over it, expands `${…}`, and validates each table against its owner's schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import yaml

from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Config, Factory, Secret
from asahi_kernel.settings import Resilience, Settings, Table
from asahi_kernel.shorthand import share_redis

C = TypeVar("C", bound=msgspec.Struct)

DEFAULT_PATH = Path("config/config.yaml")
#: A provider credential in the environment configures that provider by itself.
CREDENTIALS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_RESERVED = {"ASAHI_CONFIG", "ASAHI_PLUGINS", "ASAHI_BOOTSTRAP_ADMIN_KEY"}
#: Secrets with a variable of their own.
_SECRETS = {
    "ASAHI_ENCRYPTION_KEY": "encryption.key",
    "ASAHI_ENCRYPTION_KEYS": "encryption.keys",
    "ASAHI_CHECKPOINT_KEY": "encryption.checkpoint_key",
    "ASAHI_KEY_PEPPERS": "auth.peppers",
}
_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`(?: - at `\$(.*)`)?")
_AT = re.compile(r" - at `\$\.?(.*)`$")
#: What may be repeated in a message: anything longer or stranger may be an address or a key put in the wrong place.
_NAME = re.compile(r"[A-Za-z][\w-]{0,31}")


def read(
    path: Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force. `path` wins over `ASAHI_CONFIG`, which wins over `config/config.yaml` if that exists;
    `overrides` are dotted keys that win over everything.

    Without a file, an `ASAHI_` variable or a provider credential this is the development profile: mock provider and
    `auth: open`. Raises `ConfigError`.
    """
    env = os.environ if env is None else env
    source = path or (Path(env["ASAHI_CONFIG"]) if env.get("ASAHI_CONFIG") else None)
    if source is None and DEFAULT_PATH.is_file():
        source = DEFAULT_PATH
    tree: Table = parse(source) if source else {}
    overlaid = overlay(tree, env)
    credentials = detect(tree, env)
    if env.get("DATABASE_URL"):
        tree.setdefault("storage", {"type": "postgres", "url": "${DATABASE_URL}"})
    share_redis(tree, env)
    if "profile" not in tree:
        tree["profile"] = "production" if source or overlaid or credentials else "development"
    if env.get("PORT"):
        assign(tree, "api.port", env["PORT"])
    for key, value in (overrides or {}).items():
        assign(tree, key, value)
    where = str(source) if source else "the environment"
    return decode(expand(tree, env), Settings, where)


def parse(path: Path) -> Table:
    """One YAML mapping; a key written twice is refused."""
    try:
        tree = yaml.load(path.read_text("utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_problem(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: the file must be a mapping of sections, not {type(tree).__name__}")
    return cast("Table", tree)


def overlay(tree: Table, env: Mapping[str, str]) -> bool:
    """`ASAHI_PROVIDERS__OPENAI__TIMEOUT_S=60` means `providers.openai.timeout_s: 60`. Says whether there was any."""
    found = False
    for variable in sorted(env):
        if not variable.startswith("ASAHI_") or variable in _RESERVED:
            continue
        found = True
        key = _SECRETS.get(variable) or variable.removeprefix("ASAHI_").lower().replace("__", ".")
        assign(tree, key, _value(env[variable]), variable)
    return found or bool(env.get("ASAHI_BOOTSTRAP_ADMIN_KEY"))


def assign(tree: Table, key: str, value: Any, source: str = "the command line") -> None:
    """Set a dotted key, making the tables on the way."""
    *parents, leaf = key.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{source}: {parent!r} is not a table in the file, so nothing can be set inside it")
    node[leaf] = value


def detect(tree: Table, env: Mapping[str, str]) -> bool:
    """Configure each provider that has a credential in the environment and no table in the file."""
    found = False
    for name, variable in CREDENTIALS.items():
        if env.get(variable):
            found = True
            providers = tree.setdefault("providers", {})
            if isinstance(providers, dict):
                providers.setdefault(name, {"api_key": f"${{{variable}}}"})
    return found


def expand(node: Any, env: Mapping[str, str], path: str = "") -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string; a missing one without default is refused."""
    match node:
        case dict():
            return {key: expand(value, env, f"{path}.{key}" if path else str(key)) for key, value in node.items()}
        case list():
            return [expand(value, env, f"{path}[{index}]") for index, value in enumerate(node)]
        case str():
            return _REFERENCE.sub(lambda found: _lookup(found, env, path), node)
    return node


def decode(tree: Any, schema: type[C], where: str) -> C:
    """Decode one table strictly. The error names the path, the mistake and the nearest right key."""
    try:
        return _convert(tree, schema)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explain(_located(error, tree, schema), schema)}") from error


def choose(
    kind: str, name: str, table: Table, factories: Mapping[str, Factory[Any, Any]]
) -> tuple[Factory[Any, Any], Config]:
    """The factory that a table asks for, and the table decoded into its config."""
    factory = find(kind, name, table, factories)
    options = {key: value for key, value in table.items() if key != "type"}
    return factory, decode(options, factory.config, _place(kind, name))


def find(kind: str, name: str, table: Table, factories: Mapping[str, Factory[Any, Any]]) -> Factory[Any, Any]:
    """The factory that a table asks for: the one it names as `type`, else the one of its own name."""
    wanted = table.get("type", name)
    factory = factories.get(wanted) if isinstance(wanted, str) else None
    if factory is None:
        installed = ", ".join(sorted(factories)) or "none"
        told = repr(wanted) if _NAME.fullmatch(str(wanted)) else "that"
        hint = near(wanted, factories)
        raise ConfigError(f"{_place(kind, name)}: nothing called {told} is installed. {hint}Installed: {installed}")
    return factory


def split_resilience(name: str, table: Table, schema: type[Config]) -> tuple[Resilience, Table]:
    """The kernel's part of a provider's table, and the plugin's: keys that both know go to both."""
    known = ["type", *schema.__struct_fields__, *Resilience.__struct_fields__]
    for key in table:
        if key not in known:
            keys = ", ".join(dict.fromkeys(known))
            raise ConfigError(f"providers.{name}: unknown key {key!r}. {near(key, known)}Known keys: {keys}")
    ours = {key: value for key, value in table.items() if key in Resilience.__struct_fields__}
    theirs = {key: value for key, value in table.items() if key in schema.__struct_fields__}
    return decode(ours, Resilience, f"providers.{name}"), theirs


def near(word: str, words: Iterable[str]) -> str:
    """A hint at the nearest right word, or nothing."""
    found = get_close_matches(str(word), list(words), n=1)
    return f"Did you mean {found[0]!r}? " if found else ""


def _place(kind: str, name: str) -> str:
    return kind if kind in {"auth", "storage", "counter"} else f"{kind}.{name}"


def _convert(tree: Any, schema: type[C]) -> C:
    return msgspec.convert(tree, schema, strict=False, dec_hook=_secret)


def _located(error: msgspec.ValidationError, tree: Any, schema: type[msgspec.Struct]) -> str:
    """msgspec writes `[...]` for a value of a map: find the key by trying each one alone."""
    message = str(error)
    found = _AT.search(message)
    prefix, ellipsis, _ = found.group(1).partition("[...]") if found else ("", "", "")
    steps = [int(index) if index else word for index, word in re.findall(r"\[(\d+)\]|([^.\[\]]+)", prefix)]
    if not ellipsis or not steps:
        return message
    whole = deepcopy(tree)
    node = whole
    for step in steps[:-1]:
        node = node[step]
    for key, value in dict(node[steps[-1]]).items():
        node[steps[-1]] = {key: value}
        try:
            _convert(whole, schema)
        except msgspec.ValidationError:
            return message.replace("[...]", f".{key}", 1)
    return message


def _explain(message: str, schema: type[msgspec.Struct]) -> str:
    if found := _UNKNOWN.search(message):
        wrong, path = found.group(1), (found.group(2) or "").strip(".")
        keys = _fields_at(schema, path)
        full = f"{path}.{wrong}" if path else wrong
        return f"unknown key {full!r}. {near(wrong, keys)}Known keys: {', '.join(keys)}"
    if found := _AT.search(message):
        return f"{found.group(1)}: {message[: found.start()]}"
    return message


def _fields_at(schema: type[Any], path: str) -> list[str]:
    """The keys of the Struct at a path such as `api` or `models[...]`."""
    kind: Any = msgspec.inspect.type_info(schema)
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        options = getattr(kind, "types", (kind,))
        if step.startswith("["):
            kind = next(
                (getattr(each, "item_type", None) or getattr(each, "value_type", None) for each in options), None
            )
        else:
            fields = {field.encode_name: field.type for each in options for field in getattr(each, "fields", ())}
            kind = fields.get(step)
    options = getattr(kind, "types", (kind,))
    return [field.encode_name for each in options for field in getattr(each, "fields", ())]


def _value(text: str) -> Any:
    """Lists and maps in the environment are JSON; everything else is a string that the schema converts."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _lookup(found: re.Match[str], env: Mapping[str, str], path: str) -> str:
    name, default = found.groups()
    value = env.get(name) or default
    if value is None:
        raise ConfigError(f"{path}: asks for ${{{name}}}, which is not set; set it or write ${{{name}:-default}}")
    return value


def _secret(kind: type, value: Any) -> Any:
    if kind is not Secret:
        raise NotImplementedError(f"{kind.__name__} cannot be configured")
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`; write it in quotes")
    return Secret(value)


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself: it may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it holds characters that YAML does not allow"
    told = str(error.problem)
    if isinstance(error, yaml.composer.ComposerError | yaml.constructor.ConstructorError):
        told = re.sub(r"'[^']*'", "that", told) + "; put text with special characters in quotes"
    return f"line {error.problem_mark.line + 1}: {told}"


class _StrictLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is written twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node
