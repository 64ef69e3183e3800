"""The savings benchmark: its workload, its two bills, what it calls false, and what a person sees."""

import asyncio
import gzip
import json
import random
import re
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from tests.kernel.benchkit import FAST, command, lines_of, plan, registered, report  # noqa: F401

from asahi_kernel.benchmark.comparing import judge
from asahi_kernel.benchmark.contestants import baseline_case, is_mock
from asahi_kernel.benchmark.interval import bootstrap, nearest_rank
from asahi_kernel.benchmark.recording import decode, read
from asahi_kernel.benchmark.replaying import Outcome, audit, replay
from asahi_kernel.benchmark.running import run
from asahi_kernel.benchmark.standing_in import Instructed, truths
from asahi_kernel.benchmark.workload import Case, built_in, prompts
from asahi_kernel.builtins.mock import MockConfig, open_mock
from asahi_kernel.config import decode as settings_of
from asahi_kernel.errors import Invalid
from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.registry import CATALOGUE, build
from asahi_kernel.settings import Settings
from asahi_kernel.types import Hit

DOLLARS = {each.name: (each.cost_per_1k_input_tokens, each.cost_per_1k_output_tokens) for each in CATALOGUE}

# ---- the workload


def test_the_workload_has_the_stated_kinds_and_types():
    types = Counter(prompt.type for prompt in prompts())
    assert types == {
        "summarization": 14,
        "classification": 14,
        "reasoning": 14,
        "faq": 13,
        "creative": 12,
        "coding": 11,
        "extraction": 11,
        "translation": 11,
    }
    kinds = Counter(case.kind for case in built_in(1))
    assert kinds == {"original": 100, "repeat": 100, "paraphrase": 60, "near_miss": 40}


def test_ids_are_unique_and_every_text_but_a_repeat_is_another():
    cases = built_in(1)
    assert len({case.id for case in cases}) == 300
    texts = [decode(case).messages[-1].text for case in cases if case.kind != "repeat"]
    assert len(set(texts)) == 200


def test_a_near_miss_differs_from_its_original_in_a_few_words_only():
    for prompt in prompts():
        for near in prompt.near_misses:
            left, right = Counter(re.findall(r"\w+", prompt.text)), Counter(re.findall(r"\w+", near))
            assert 0 < (right - left).total() + (left - right).total() <= 20
            assert near != prompt.text


def test_a_paraphrase_is_no_near_copy():
    for prompt in prompts():
        for other in prompt.paraphrases:
            assert other.split()[:4] != prompt.text.split()[:4]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_original_comes_before_its_repeat_paraphrase_and_near_miss(seed):
    seen = set()
    for case in built_in(seed):
        family = case.id.split("/")[0]
        assert (case.kind == "original") == (family not in seen)
        seen.add(family)


def test_the_order_depends_on_the_seed_alone():
    assert built_in(5) == built_in(5) != built_in(6)


# ---- the bills


def test_both_bills_are_what_usages_and_catalogue_prices_make_them():
    """Recomputed in dollars from the events, by another way than the gateway's."""
    how = plan(built_in(1)[:120])

    async def bills():
        async with running(Gateway(how.settings), Instructed(how.plugins)) as gateway:
            plain = [baseline_case(case, gateway.registry) for case in how.cases]
            sums = []
            for org, cases in (("plain", plain), ("asahi", how.cases)):
                outcomes = await replay(gateway, cases, org, 1, lambda: None, truths(how.cases))
                assert (await audit(gateway, outcomes, org)).agree
                paid = [outcome for outcome in outcomes if not outcome.tier]
                sums.append(
                    sum(
                        each.input_tokens / 1e3 * DOLLARS[each.model][0]
                        + each.output_tokens / 1e3 * DOLLARS[each.model][1]
                        for each in paid
                    )
                )
            return sums

    before, after = asyncio.run(bills())
    found = asyncio.run(run(how, lambda: None))
    assert found.saving.baseline_cost == pytest.approx(before, abs=1e-9)
    assert found.saving.cost == pytest.approx(after, abs=1e-9)
    assert found.saving.dollars == pytest.approx(before - after, abs=1e-9)
    assert found.saving.percent == pytest.approx(100 * (before - after) / before, abs=0.01)


def test_the_baseline_is_one_model_without_a_cache():
    found = report()
    assert found.baseline.models == {"gpt-4-turbo": 300}
    assert found.baseline_model == "gpt-4-turbo"
    assert found.caching.by_kind == {"original": 0, "repeat": 100, "paraphrase": 0, "near_miss": 0}
    assert found.saving.by_caching + found.saving.by_routing == pytest.approx(found.saving.dollars)


def test_without_a_hit_nothing_is_saved_by_caching():
    found = report(cases=[case for case in built_in(1) if case.kind == "original"])
    assert (found.caching.hits, found.saving.by_caching) == (0, 0)
    assert found.saving.by_routing == found.saving.dollars > 0


def test_the_same_seed_gives_the_same_bills():
    one, two = report(), report()
    assert (one.saving, one.types, one.truth, one.asahi.models) == (two.saving, two.types, two.truth, two.asahi.models)


def test_concurrency_changes_neither_the_baseline_nor_the_hits():
    """Routing learns how long answers are, in the order in which they come."""
    one, many = report(), report(concurrency=16)
    assert one.saving.baseline_cost == many.saving.baseline_cost
    assert (one.caching.hits, one.asahi.output_tokens) == (many.caching.hits, many.asahi.output_tokens)
    assert one.saving.percent == pytest.approx(many.saving.percent, abs=3)


def test_every_request_is_an_event_also_when_it_fails():
    tree = {
        **FAST,
        "providers": {"mock": {"latency_share": 0, "max_retries": 0, "faults": [{"call": 3, "status": 400}]}},
    }
    found = report(tree=tree, cases=built_in(1)[:20])
    assert found.asahi_books.events == found.asahi_books.requests == 20
    assert found.asahi.errors
    assert found.saving.compared < 20
    assert found.good


def test_mock_keeps_out_of_the_configured_storage(monkeypatch):
    opened = []

    @asynccontextmanager
    async def open_precious(config, gateway):
        opened.append(gateway)
        yield None

    registered(monkeypatch, register_storages=Factory("precious", Config, open_precious))
    assert report(tree={**FAST, "storage": "precious"}, cases=built_in(1)[:2]).good
    assert not opened


# ---- what is false


def case_of(meaning, kind="original"):
    return Case(id=meaning, kind=kind, wire="native", body=b"", meaning=meaning)


def test_a_hit_is_true_only_with_an_answer_to_the_same_meaning():
    cases = [case_of("a"), case_of("b"), case_of("a", "repeat"), case_of("b", "repeat"), case_of("c", "near_miss")]
    texts = [("A", 0), ("B", 0), ("A", 1), ("A", 2), ("A", 2)]
    truth = judge(cases, [Outcome(cost=0, text=text, tier=tier) for text, tier in texts])
    assert truth.false_hit_ids == ["b", "c"]


def test_a_trace_has_no_truth_to_judge_by():
    cases = [Case(id="line 1", kind="trace", wire="native", body=b"")]
    assert judge(cases, [Outcome(cost=0, text="A", tier=2)]).judged == 0


class Parrot:
    """A broken tier: everybody gets the first answer of all."""

    def __init__(self):
        self.first = None

    async def get(self, key, request, principal):
        return self.first and Hit(completion=self.first, tier=2, entry_id="parrot")

    async def put(self, key, request, principal, completion):
        self.first = completion

    async def clear(self, org):
        raise OSError("and it cannot clear")


@asynccontextmanager
async def open_parrot(config, gateway):
    yield Parrot()


def test_a_broken_cache_is_found_out(asahi, monkeypatch):
    registered(monkeypatch, register_cache_tiers=Factory("parrot", Config, open_parrot))
    ran = asahi("--json", config={**FAST, "cache": {"tiers": ["parrot"]}})
    assert ran.exit_code == 1
    found = json.loads(ran.stdout)
    assert not found["good"]
    assert found["truth"]["false_hits"] > 250
    assert any("near_miss" in identity for identity in found["truth"]["false_hit_ids"])


class Forgetful:
    """A storage that loses every tenth event."""

    def __init__(self, inner):
        self.inner, self.books = inner, self

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def post(self, batch):
        return await self.inner.books.post([each for each in batch if random.random() > 0.1])


def test_books_that_disagree_are_bad(asahi, monkeypatch):
    from asahi_kernel.builtins import memory

    whole = memory.MemoryStorage
    monkeypatch.setattr(memory, "MemoryStorage", lambda limit: Forgetful(whole(limit)))
    ran = asahi(config=FAST)
    assert ran.exit_code == 1
    assert "BAD  books with Asahi: 300 requests, 2" in ran.stdout


# ---- traces


def test_a_trace_holds_bodies_of_both_wires(asahi, tmp_path):
    ask = {"prompt": "What is a lien?"}
    chat = {"model": "claude-opus-4", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    ran = asahi("--json", "--trace", lines_of(tmp_path, ask, "", chat, ask, {**ask, "stream": True}), config=FAST)
    found = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert found["workload"]["kinds"] == {"trace": 2, "repeat": 2}
    assert found["baseline"]["models"] == {"gpt-4-turbo": 3, "claude-opus-4": 1}
    assert found["caching"]["hits"] == 2


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("{", "JSON"),
        ("[1]", "must be a JSON object"),
        ({"question": "why?"}, "neither `prompt`"),
        ({"prompt": "why?", "colour": "red"}, "colour"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "model"),
        ({"prompt": "why?", "model": "gpt-17"}, "gpt-17"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(asahi, tmp_path, line, mistake):
    ran = asahi("--trace", lines_of(tmp_path, {"prompt": "one"}, "", line), config=FAST)
    told = " ".join(ran.output.split())
    assert ran.exit_code == 2
    assert "line 3" in told
    assert mistake in told


def test_a_run_without_an_answer_is_not_good(asahi):
    ran = asahi("--requests", 5, config={**FAST, "providers": {"mock": {"faults": [{"status": 400}]}}})
    assert ran.exit_code == 1
    assert "nothing could be compared" in ran.stdout


def test_a_packed_trace_is_unpacked(tmp_path):
    plain = lines_of(tmp_path, {"prompt": "one"}, {"prompt": "two"})
    packed = tmp_path / "trace.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed) == read(plain)


def test_an_empty_trace_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no request"):
        read(lines_of(tmp_path, ""))


def test_the_baseline_keeps_the_question_and_drops_what_steers_asahi():
    body = {
        "prompt": "Sum it up",
        "document": "Long.",
        "max_tokens": 50,
        "cost_budget": 0.1,
        "quality_preference": "low",
    }
    case = Case(id="line 1", kind="trace", wire="native", body=json.dumps(body).encode())
    registry = build(settings_of(FAST, Settings, "test"), ["mock"], mock=True)
    plain, asked = decode(baseline_case(case, registry)), decode(case)
    assert (plain.messages, plain.document, plain.max_tokens) == (asked.messages, asked.document, 50)
    assert (plain.model, plain.terms.mode, plain.terms.cache) == ("gpt-4-turbo", "explicit", "off")
    assert (plain.terms.cost_budget, plain.terms.quality_preference) == (None, None)


# ---- money asks first


COSTLY = Factory("costly", MockConfig, open_mock)
PAID = {
    "profile": "development",
    "providers": {"costly": {"latency_share": 0}},
    "models": [
        {
            "name": "big",
            "provider": "costly",
            "cost_per_1k_input_tokens": 1,
            "cost_per_1k_output_tokens": 1,
            "max_output_tokens": 2_000,
        }
    ],
}


def test_a_paid_run_tells_its_cost_and_asks(asahi, monkeypatch):
    registered(monkeypatch, register_providers=COSTLY)
    ran = asahi(config=PAID, answer="n\n")
    assert ran.exit_code != 0
    assert "600 paid requests" in ran.stderr
    assert float(re.search(r"Expected cost: \$([\d.]+)", ran.stderr)[1]) > 1
    assert "The bill" not in ran.stdout


@pytest.mark.parametrize(("arguments", "answer"), [((), "y\n"), (("--yes",), None)])
def test_with_consent_it_runs_and_is_no_mock(asahi, monkeypatch, arguments, answer):
    registered(monkeypatch, register_providers=COSTLY)
    ran = asahi("--json", "--requests", 10, *arguments, config=PAID, answer=answer)
    assert ran.exit_code == 0
    assert not json.loads(ran.stdout)["mock"]


def test_mock_never_asks_whatever_is_configured(asahi, monkeypatch):
    registered(monkeypatch, register_providers=COSTLY)
    ran = asahi("--mock", "--requests", 10, config=PAID)
    assert (ran.exit_code, ran.stderr) == (0, "")


def test_only_the_mock_provider_is_free():
    assert is_mock(settings_of({}, Settings, "test"))
    assert is_mock(settings_of({"providers": {"a": {"type": "mock"}}}, Settings, "test"))
    assert not is_mock(settings_of({"providers": {"mock": {}, "b": {"type": "openai"}}}, Settings, "test"))
    assert not is_mock(settings_of({"providers": {"mock": {"type": "openai"}}}, Settings, "test"))


# ---- what a person sees


def test_the_text_says_what_is_mock_and_why_paraphrases_miss(asahi):
    ran = asahi("--mock")
    assert ran.exit_code == 0
    assert "MOCK" in ran.stdout.splitlines()[1]
    assert re.search(r"paraphrases +0 of 60", ran.stdout)
    assert "300 requests, 300 events" in ran.stdout
    assert "95 % interval" in ran.stdout
    assert all(len(line) <= 120 for line in ran.stdout.splitlines())


def test_json_is_the_same_report_as_the_file(asahi, tmp_path):
    ran = asahi("--mock", "--requests", 40, "--json", "--report", tmp_path / "report.json")
    assert json.loads(ran.stdout) == json.loads((tmp_path / "report.json").read_text())
    assert {"saving", "caching", "truth", "overhead_ms", "asahi_books", "mock", "good"} <= json.loads(ran.stdout).keys()


# ---- the figures


@pytest.mark.parametrize(("percent", "rank"), [(50, 50), (95, 95), (99, 99), (0, 1), (100, 100)])
def test_percentiles_are_nearest_ranks(percent, rank):
    assert nearest_rank(range(1, 101), percent) == rank


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    source, covered = random.Random(7), 0
    for seed in range(60):
        bills = [(1_000, source.choice((0, 500))) for _ in range(60)]
        found = bootstrap(bills, seed)
        covered += found.percent_low <= 75 <= found.percent_high
    assert covered >= 52


def test_the_interval_narrows_with_the_requests_also_beyond_the_blocks():
    def width(count):
        found = bootstrap([(1_000, place % 2 * 1_000) for place in range(count)], 1)
        assert found.low <= 500 * count <= found.high
        return found.percent_high - found.percent_low

    assert width(100) > 2 * width(1_000) > 3 * width(10_000)


def test_too_little_gives_no_interval():
    assert bootstrap([(1, 0)], 1) is None
    assert bootstrap([(0, 0), (0, 0)], 1) is None
