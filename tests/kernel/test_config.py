"""Configuration: where each value comes from, and that a mistake stops the start naming path, mistake and fix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asahi_kernel import Config, ConfigError, Secret, serving
from asahi_kernel.config import choose, decode, read, split_resilience
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import Plugins, load_plugins
from asahi_kernel.registry import build
from asahi_kernel.settings import ModelProfile, Settings

CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory: no `config/config.yaml`."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def installed() -> Plugins:
    return load_plugins()


def settings(text: str = "", env: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    Path("asahi.yaml").write_text(text, "utf-8")
    return read(Path("asahi.yaml"), env or {}, overrides)


def refusal(text: str, env: Mapping[str, str] | None = None) -> str:
    """What a file is refused with."""
    with pytest.raises(ConfigError) as caught:
        settings(text, env)
    return str(caught.value)


class TestPrecedence:
    def test_defaults_hold_without_anything(self) -> None:
        assert read(None, {}).api.port == 8000

    def test_the_file_wins_over_defaults(self) -> None:
        assert settings("api: {port: 8001}").api.port == 8001

    def test_the_environment_wins_over_the_file(self) -> None:
        assert settings("api: {port: 8001}", {"ASAHI_API__PORT": "8002"}).api.port == 8002

    def test_the_command_line_wins_over_the_environment(self) -> None:
        env = {"ASAHI_API__PORT": "8002", "PORT": "8003"}
        assert read(None, env, {"api.port": 8004}).api.port == 8004

    def test_port_wins_over_the_kernels_own_variable(self) -> None:
        assert read(None, {"ASAHI_API__PORT": "8002", "PORT": "8003"}).api.port == 8003

    def test_one_key_of_a_table_spares_its_neighbours(self) -> None:
        found = settings("api: {port: 8001, max_queue: 7}", {"ASAHI_API__PORT": "8002"})
        assert (found.api.port, found.api.max_queue) == (8002, 7)

    def test_the_named_file_wins_over_the_one_in_the_environment(self) -> None:
        Path("other.yaml").write_text("api: {port: 1}")
        assert settings("api: {port: 2}", {"ASAHI_CONFIG": "other.yaml"}).api.port == 2

    def test_the_file_in_the_environment_wins_over_the_default_file(self) -> None:
        Path("config").mkdir()
        Path("config/config.yaml").write_text("api: {port: 1}")
        Path("other.yaml").write_text("api: {port: 2}")
        assert read(None, {"ASAHI_CONFIG": "other.yaml"}).api.port == 2
        assert read(None, {}).api.port == 1


class TestEnvironment:
    def test_two_underscores_go_one_table_down(self) -> None:
        found = read(None, {"ASAHI_PROVIDERS__OPENAI__TIMEOUT_S": "60", "ASAHI_CACHE__TTL_SECONDS": "5"})
        assert found.providers["openai"]["timeout_s"] == "60"
        assert found.cache.ttl_seconds == 5

    def test_lists_and_maps_are_json(self) -> None:
        env = {"ASAHI_API__ALLOWED_HOSTS": '["a.example", "b.example"]', "ASAHI_ALIASES": '{"fast": "m"}'}
        found = read(None, env)
        assert found.api.allowed_hosts == ("a.example", "b.example")
        assert found.aliases == {"fast": "m"}

    @pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False)])
    def test_booleans_are_words_or_digits(self, text: str, value: bool) -> None:
        assert read(None, {"ASAHI_API__DOCS": text}).api.docs is value

    @pytest.mark.parametrize("text", ["a.example", '["a.example"'])
    def test_a_list_that_is_not_json_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"api\.allowed_hosts: Expected `array`"):
            read(None, {"ASAHI_API__ALLOWED_HOSTS": text})

    def test_a_variable_inside_something_that_is_no_table_is_refused(self) -> None:
        told = refusal("storage: memory", {"ASAHI_STORAGE__MAX_EVENTS": "5"})
        assert "ASAHI_STORAGE__MAX_EVENTS" in told
        assert "'storage' is not a table" in told

    def test_a_misspelt_variable_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown key 'api\.prot'\. Did you mean 'port'"):
            read(None, {"ASAHI_API__PROT": "1"})


class TestReferences:
    def test_a_variable_is_expanded_anywhere_in_a_string(self) -> None:
        found = settings('providers: {x: {url: "https://${HOST}/v1"}}', {"HOST": "h.example"})
        assert found.providers["x"]["url"] == "https://h.example/v1"

    @pytest.mark.parametrize("env", [{}, {"PORT_": ""}])
    def test_a_default_stands_in_for_what_is_missing_or_empty(self, env: dict[str, str]) -> None:
        assert settings('api: {port: "${PORT_:-8009}"}', env).api.port == 8009

    def test_what_is_set_wins_over_the_default(self) -> None:
        assert settings('api: {port: "${PORT_:-8009}"}', {"PORT_": "8010"}).api.port == 8010

    def test_a_missing_variable_is_named_with_its_path(self) -> None:
        told = refusal('models: [{name: a, provider: "${NOWHERE}"}]')
        assert "models[0].provider" in told
        assert "${NOWHERE}" in told

    def test_a_value_is_not_expanded_twice(self) -> None:
        assert settings('aliases: {a: "${OUTER}"}', {"OUTER": "${INNER}"}).aliases == {"a": "${INNER}"}


class TestMisspeltKeys:
    @pytest.mark.parametrize(
        ("text", "path", "hint"),
        [
            ("provders: {}", "'provders'", "'providers'"),
            ("api: {prot: 1}", "'api.prot'", "'port'"),
            (
                "models: [{name: a, provider: b}, {name: c, qualty_score: 1}]",
                "'models[1].qualty_score'",
                "'quality_score'",
            ),
            ("streams: {on_disconect: abort}", "'streams.on_disconect'", "'on_disconnect'"),
        ],
    )
    def test_the_kernels_tables_name_path_and_nearest_key(self, text: str, path: str, hint: str) -> None:
        told = refusal(text)
        assert told.startswith(f"asahi.yaml: unknown key {path}. Did you mean {hint}?")

    @pytest.mark.parametrize(
        ("table", "wrong", "right"),
        [
            ({"max_retrys": 1}, "'max_retrys'", "'max_retries'"),
            ({"latency_sahre": 1}, "'latency_sahre'", "'latency_share'"),
            ({"breaker": {"open_seconds": 1}}, "'breaker.open_seconds'", "'open_s'"),
        ],
    )
    def test_a_providers_table_knows_its_own_keys_and_the_kernels(
        self, installed: Plugins, table: dict[str, Any], wrong: str, right: str
    ) -> None:
        factory = installed.catalogue("providers")["mock"]
        with pytest.raises(ConfigError) as caught:
            split_resilience("mock", table, factory.config)
        told = str(caught.value)
        assert told.startswith(f"providers.mock: unknown key {wrong}. Did you mean {right}?")

    def test_keys_that_kernel_and_plugin_both_know_go_to_both(self, installed: Plugins) -> None:
        factory = installed.catalogue("providers")["openai"]
        table = {"type": "openai", "api_key": "k", "timeout_s": 7, "max_retries": 1}
        resilience, own = split_resilience("mine", table, factory.config)
        assert (resilience.timeout_s, resilience.max_retries) == (7, 1)
        assert own == {"api_key": "k", "timeout_s": 7}

    def test_a_plugins_table_names_the_place_inside_a_list(self, installed: Plugins) -> None:
        table = {"type": "static", "keys": [{"key": CANARY, "rolle": "admin"}]}
        with pytest.raises(ConfigError, match=r"auth: unknown key 'keys\[0\]\.rolle'\. Did you mean 'role'"):
            choose("auth", "auth", table, installed.catalogue("authenticators"))

    @pytest.mark.parametrize(("wanted", "hint"), [("exat", "Did you mean 'exact'? "), ("zzz", "")])
    def test_a_backend_that_is_not_installed_is_named_with_the_nearest(
        self, installed: Plugins, wanted: str, hint: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            choose("cache_tiers", wanted, {}, installed.catalogue("cache_tiers"))
        told = f"cache_tiers.{wanted}: nothing called {wanted!r} is installed. {hint}Installed: exact, semantic"
        assert str(caught.value) == told

    def test_a_type_that_is_no_name_is_refused(self, installed: Plugins) -> None:
        with pytest.raises(ConfigError, match=r"providers\.x: nothing called that is installed"):
            choose("providers", "x", {"type": ["mock"]}, installed.catalogue("providers"))


class TestValues:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("api: {port: many}", "api.port: Expected `int`, got `str`"),
            ("api: {port: true}", "api.port: Expected `int`, got `bool`"),
            ("api: {port: 70000}", "api.port: Expected `int` <= 65535"),
            ("api: {workers: 0}", "api.workers: Expected `int` >= 1"),
            ("api: []", "api: Expected `object`, got `array`"),
            ("api:", "api: Expected `object`, got `null`"),
            ("cache: {ttl_jitter: 0.6}", "cache.ttl_jitter: Expected `float` <= 0.5"),
            ("models: [{name: a, provider: b, quality_score: 9}]", "models[0].quality_score: Expected `float` <= 5.0"),
            ("models: [{name: a, provider: b, cost_per_1k_input_tokens: -1}]", "models[0].cost_per_1k_input_tokens"),
            ("models: [{provider: b}]", "models[0]: Object missing required field `name`"),
            ("logging: {level: LOUD}", "logging.level: Invalid enum value 'LOUD'"),
            ("aliases: {good: m, bad: 3}", "aliases.bad: Expected `str`, got `int`"),
            ("providers: {mock: {}, openai: }", "providers.openai: Expected `object`, got `null`"),
            ("models: [{name: a, provider: b, task_quality: {faq: 3, legal: 7}}]", "models[0].task_quality.legal"),
        ],
    )
    def test_a_wrong_type_or_range_is_refused_with_its_path(self, text: str, told: str) -> None:
        assert refusal(text).startswith(f"asahi.yaml: {told}")


class TestFiles:
    def test_a_missing_file_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
            read(Path("gone.yaml"), {})
        with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
            read(None, {"ASAHI_CONFIG": "gone.yaml"})

    def test_a_file_that_cannot_be_read_is_named(self) -> None:
        Path("latin.yaml").write_bytes(b"api: \xff")
        for path in (Path("latin.yaml"), Path()):
            with pytest.raises(ConfigError, match="cannot be read"):
                read(path, {})

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
    def test_an_empty_file_is_the_defaults_in_production(self, text: str) -> None:
        assert settings(text) == Settings(profile="production")

    @pytest.mark.parametrize("text", ["- api", "api", "5"])
    def test_a_file_that_is_no_mapping_is_refused(self, text: str) -> None:
        assert "must be a mapping of sections" in refusal(text)

    @pytest.mark.parametrize("text", ["api: {port: 1, port: 2}", "api: {}\n\napi: {}", "models: [{name: a, name: b}]"])
    def test_a_key_written_twice_is_refused_with_its_line(self, text: str) -> None:
        told = refusal(text)
        assert "is written twice" in told
        assert f"line {text.count(chr(10)) + 1}:" in told

    def test_a_merged_mapping_may_be_overridden(self) -> None:
        text = "providers:\n  a: &a {type: mock, timeout_s: 1}\n  b: &b {<<: *a, timeout_s: 2}\n  c: {<<: *b}\n"
        assert settings(text).providers["c"] == {"type": "mock", "timeout_s": 2}

    def test_a_tag_never_runs_code(self) -> None:
        assert "could not determine a constructor" in refusal("api: !!python/object/apply:os.getcwd []")


class TestProfile:
    def test_nothing_at_all_is_the_development_profile(self) -> None:
        assert read(None, {"PATH": "/bin", "HOME": "/"}).profile == "development"

    @pytest.mark.parametrize(
        "env", [{"ASAHI_CACHE__TTL_SECONDS": "5"}, {"OPENAI_API_KEY": "k"}, {"ASAHI_BOOTSTRAP_ADMIN_KEY": "k"}]
    )
    def test_a_variable_or_a_credential_ends_it(self, env: dict[str, str]) -> None:
        assert read(None, env).profile == "production"

    def test_a_file_ends_it_even_if_empty(self) -> None:
        assert settings("").profile == "production"

    def test_the_default_file_ends_it(self) -> None:
        Path("config").mkdir()
        Path("config/config.yaml").write_text("")
        assert read(None, {}).profile == "production"

    def test_an_empty_credential_is_none(self) -> None:
        assert read(None, {"OPENAI_API_KEY": ""}).profile == "development"

    def test_a_file_may_ask_for_it(self) -> None:
        assert settings("profile: development").profile == "development"

    def test_a_credential_configures_its_provider_unless_the_file_does(self) -> None:
        assert read(None, {"OPENAI_API_KEY": "k"}).providers == {"openai": {"api_key": "k"}}
        found = settings("providers: {openai: {api_key: own}}", {"OPENAI_API_KEY": "k"})
        assert found.providers == {"openai": {"api_key": "own"}}


class Holder(Config, frozen=True):
    key: Secret
    names: dict[str, Secret] = {}


class TestSecrets:
    def test_a_secret_prints_masked(self) -> None:
        held = decode({"key": CANARY, "names": {"a": CANARY}}, Holder, "x")
        assert held.key.reveal() == CANARY
        assert CANARY not in f"{held} {held!r} {held.key} {held.key!r} {[held.key]}"

    @pytest.mark.parametrize("value", [5, None, ["a"], True])
    def test_a_secret_that_is_no_string_is_refused_with_its_path(self, value: object) -> None:
        with pytest.raises(ConfigError, match=r"x: key: Expected `str`"):
            decode({"key": value}, Holder, "x")

    @pytest.mark.parametrize(
        "text",
        [
            f"provders: {{openai: {{api_key: {CANARY}}}}}",
            f"providers: [{CANARY}]",
            f'providers: {{openai: {{api_key: "{CANARY}}}}}',
            f"providers:\n  openai:\n    api_key: {CANARY}: x",
            f"providers: {{openai: {{api_key: {CANARY}, api_key: {CANARY}}}}}",
            f"providers: {{openai: {{api_key: *{CANARY}}}}}",
            f"providers: {{openai: {{api_key: !{CANARY} x}}}}",
            f"models: [{{name: a, provider: b, key: {CANARY}}}]",
            f"api: {CANARY}",
        ],
    )
    def test_no_message_repeats_one(self, text: str) -> None:
        assert CANARY not in refusal(text)

    def test_no_message_repeats_an_address_put_in_place_of_a_type(self, installed: Plugins) -> None:
        with pytest.raises(ConfigError) as caught:
            choose(
                "storage", "storage", {"type": f"postgresql://me:{CANARY}@db/asahi"}, installed.catalogue("storages")
            )
        assert CANARY not in str(caught.value)

    def test_a_misspelt_key_beside_one_does_not_repeat_it(self, installed: Plugins) -> None:
        factory = installed.catalogue("providers")["openai"]
        with pytest.raises(ConfigError, match="api_kei") as caught:
            split_resilience("openai", {"api_kei": CANARY}, factory.config)
        assert CANARY not in str(caught.value)


class TestModels:
    def test_an_alias_to_an_unknown_model_is_refused(self) -> None:
        found = settings("aliases: {fast: claude-3-5-haiki}")
        with pytest.raises(ConfigError, match=r"aliases\.fast: 'claude-3-5-haiki'.*Did you mean 'claude-3-5-haiku'"):
            build(found, ["mock"], mock=True)

    def test_a_price_for_one_side_only_is_refused(self) -> None:
        found = settings("models: [{name: a, provider: mock, cost_per_1k_input_tokens: 0.1}]")
        with pytest.raises(ConfigError, match="'a' has a price for input or output only"):
            build(found, ["mock"], mock=True)

    def test_a_provider_without_a_table_is_refused(self) -> None:
        found = settings("models: [{name: a, provider: opnai}]")
        with pytest.raises(ConfigError, match=r"'a' names the provider 'opnai'.*Did you mean 'openai'"):
            build(found, ["openai"], mock=False)

    def test_a_model_listed_twice_is_refused(self) -> None:
        found = settings("models: [{name: a, provider: mock}, {name: a, provider: mock}]")
        with pytest.raises(ConfigError, match="'a' is listed twice"):
            build(found, ["mock"], mock=True)

    def test_an_unknown_baseline_is_refused(self) -> None:
        found = settings("pricing: {baseline_model: gpt-4-turbi}")
        with pytest.raises(ConfigError, match=r"pricing\.baseline_model.*Did you mean 'gpt-4-turbo'"):
            build(found, ["mock"], mock=True)

    def test_no_price_is_unknown_and_not_zero(self) -> None:
        found = Settings(models=(ModelProfile(name="a", provider="mock"),))
        assert build(found, ["mock"], mock=True).models[0].prices is None


class TestStart:
    @pytest.mark.anyio
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("storage: {max_events: 5}", r"storage: 'type' is missing"),
            ("storage: sqlight", r"storage: nothing called 'sqlight' is installed\. Did you mean 'sqlite'\?"),
            ("cache: {tiers: [exat]}", r"cache_tiers\.exat: .* Did you mean 'exact'"),
            ("routing: {rules: [cheepest]}", r"rules\.cheepest: .* Did you mean 'cheapest'"),
            ("providers: {groq: {api_key: k}}", r"providers\.groq: nothing called 'groq'"),
        ],
    )
    async def test_what_is_not_installed_stops_it(self, installed: Plugins, text: str, told: str) -> None:
        found = settings(f"profile: development\n{text}")
        with pytest.raises(ConfigError, match=told):
            async with running(Gateway(found), installed):
                pass

    def test_workers_with_memory_storage_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "run", lambda *args, **options: 0)
        with pytest.raises(ConfigError, match=r"api\.workers: 2 workers"):
            serving.serve(settings("storage: memory\napi: {workers: 2}"))
        assert serving.serve(settings("storage: memory\napi: {workers: 2, allow_split_state: true}")) == 0
        assert serving.serve(settings("storage: sqlite\napi: {workers: 2}")) == 0
