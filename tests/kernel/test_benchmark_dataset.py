"""The savings benchmark on data sets: what is known to be true, what is served all the same, and which cache did it."""

import asyncio
import gzip
import json
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from tests.kernel.benchkit import FAST, command, lines_of, plan, registered, report  # noqa: F401

from asahi_kernel import plugins
from asahi_kernel.benchmark.contestants import asahi_settings
from asahi_kernel.benchmark.dataset import BadDataSet, read
from asahi_kernel.benchmark.interval import wilson
from asahi_kernel.benchmark.judging import judge
from asahi_kernel.benchmark.limiting import limit, tiers_of, with_semantic
from asahi_kernel.benchmark.recording import decode
from asahi_kernel.benchmark.replaying import Outcome
from asahi_kernel.benchmark.running import run
from asahi_kernel.benchmark.standing_in import TRUTH, Standin, truths
from asahi_kernel.benchmark.workload import Case, built_in
from asahi_kernel.builtins.mock import MockConfig
from asahi_kernel.config import decode as settings_of
from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Config, Factory
from asahi_kernel.recheck import recheck
from asahi_kernel.registry import build
from asahi_kernel.settings import Settings
from asahi_kernel.types import Hit, Message, Request

ASKED = ("reset my password", "download my invoice", "delete my account", "change my address", "get a refund")
MORE = ("export all contacts", "see public holidays", "connect a printer", "invite a colleague", "turn on dark colours")
FORMS = ("How do I {}?", "How can I {}?", "how do i {}", "Tell me how to {}.", "Please explain how to {}.")
ALIKE = ("What must I do to {}?", "I want to {}, how?", "Is there a way to {}?", "How would I {} here?", "Steps to {}?")


def questions(*forms, asked=ASKED):
    """Each question in each form, and what it asks for."""
    return [{"prompt": form.format(each), "group": each} for each in asked for form in forms]


def cases_of(tmp_path, *lines, seed=1):
    return read(lines_of(tmp_path, *lines), seed).cases


# ---- reading


def test_a_line_may_be_a_body_a_chat_or_a_plain_text(tmp_path):
    chat = {"model": "gpt-4-turbo", "messages": [{"role": "user", "content": "Hello"}], "group": "c"}
    lines = ({"prompt": "A?", "max_tokens": 9, "group": "a"}, {"text": "B?", "intent": "b"}, chat)
    found = {decode(case).messages[-1].text: (case.wire, case.meaning) for case in cases_of(tmp_path, *lines)}
    assert found == {"A?": ("native", "group a"), "B?": ("native", "intent b"), "Hello": ("openai", "group c")}
    assert 9 in {decode(case).max_tokens for case in cases_of(tmp_path, *lines)}


def test_a_group_an_intent_or_an_answer_make_questions_one(tmp_path):
    lines = (
        {"prompt": "2+2", "answer": "4"},
        {"prompt": "two and two", "answer": "4"},
        {"prompt": "2+3", "answer": "5"},
    )
    assert Counter(case.meaning for case in cases_of(tmp_path, *lines)) == {"answer 4": 2, "answer 5": 1}
    both = ({"prompt": "2+2", "answer": "4", "group": "a"}, {"prompt": "2*2", "answer": "4", "group": "b"})
    assert {case.meaning for case in cases_of(tmp_path, *both)} == {"group a", "group b"}


def test_questions_out_of_scope_have_nothing_in_common(tmp_path):
    lines = ({"text": "one", "intent": "oos"}, {"text": "two", "intent": "oos"})
    assert len({case.meaning for case in cases_of(tmp_path, *lines)}) == 2


def test_duplicates_of_duplicates_mean_the_same(tmp_path):
    pairs = (("a", "b", 1), ("b", "c", 1), ("d", "e", 0), ("d", "a", 0), ("f", "c", True))
    found = cases_of(tmp_path, *({"text_a": one, "text_b": other, "label": int(label)} for one, other, label in pairs))
    meanings = {decode(case).messages[-1].text: case.meaning for case in found}
    assert len(found) == len(meanings) == 6
    assert len({meanings[text] for text in "abcf"}) == 1
    assert len(set(meanings.values())) == 3


def test_pairs_that_contradict_each_other_are_told(tmp_path):
    pairs = [("a", "b", 1), ("b", "c", 1), ("a", "c", 0)]
    file = lines_of(tmp_path, *({"text_a": one, "text_b": other, "label": label} for one, other, label in pairs))
    assert read(file, 1).notes[0].startswith("Pairs that are called different")


def test_one_question_with_two_truths_is_not_judged(tmp_path):
    file = lines_of(
        tmp_path, {"prompt": "a", "group": "x"}, {"prompt": "a", "group": "y"}, {"prompt": "b", "group": "x"}
    )
    found = read(file, 1)
    assert sorted(case.meaning for case in found.cases) == ["", "", "group x"]
    assert found.notes[0].endswith("not judged: 2.")


@pytest.mark.parametrize("seed", range(5))
def test_a_kind_is_what_a_request_is_to_those_before_it(tmp_path, seed):
    found = cases_of(tmp_path, *questions(*FORMS), *questions(FORMS[0]), seed=seed)
    kinds = Counter(case.kind for case in found)
    assert kinds == {"original": 5, "repeat": 5, "paraphrase": 20}
    meanings, bodies = set(), set()
    for case in found:
        assert (case.kind == "original") == (case.meaning not in meanings)
        assert (case.kind == "repeat") == (case.body in bodies)
        meanings.add(case.meaning)
        bodies.add(case.body)


def test_the_order_is_the_seed_s(tmp_path):
    file = lines_of(tmp_path, *questions(*FORMS))
    assert read(file, 1) == read(file, 1)
    assert read(file, 1).cases != read(file, 2).cases


def test_a_name_that_ends_in_gz_is_unpacked(tmp_path):
    plain = lines_of(tmp_path, *questions(*FORMS))
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed, 1) == read(plain, 1)
    for broken in (b"no gzip at all", gzip.compress(b"{}" * 999)[:-9], gzip.compress(b"{}")[:12] + b"?" * 20):
        packed.write_bytes(broken)
        with pytest.raises(BadDataSet, match="cannot be read"):
            read(packed, 1)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("{", "JSON"),
        ("[1]", "must be a JSON object"),
        ({"prompt": "why?"}, "`group`, `intent` or `answer`"),
        ({"group": "a"}, "neither `prompt`"),
        ({"prompt": "why?", "group": 7}, "Expected `str"),
        ({"prompt": "why?", "group": ""}, "length >= 1"),
        ({"prompt": "why?", "group": "a", "colour": "red"}, "colour"),
        ({"prompt": "why?", "text": "how?", "group": "a"}, "text"),
        ({"prompt": "why?", "group": "a", "model": "gpt-17"}, "gpt-17"),
        ({"prompt": "why?", "group": "a", "id": "one"}, "line 1 already"),
        ({"prompt": "why?", "group": "a", "expected_output_length": -1}, ">= 1"),
        ({"text_a": "a", "text_b": "b"}, "label"),
        ({"text_a": "a", "text_b": "b", "label": 2}, "<= 1"),
        ({"text_a": "a", "text_b": "b", "label": 1, "group": "x"}, "group"),
        ({"text_a": "", "text_b": "b", "label": 1}, "length >= 1"),
        ('{"prompt": "a", "prompt": "b", "group": "c"}', "prompt"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(asahi, tmp_path, line, mistake):
    first = {"prompt": "one", "group": "a", "id": "one"}
    ran = asahi("--dataset", lines_of(tmp_path, first, "", line), config=FAST)
    told = " ".join(ran.output.split())
    assert ran.exit_code == 2
    assert "line 3" in told or "gpt-17" in told
    assert mistake in told
    assert "--dataset" in told


def test_bytes_that_are_no_text_are_refused_by_their_line(tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b'{"prompt": "a", "group": "a"}\n{"prompt": "\xff", "group": "a"}')
    with pytest.raises(BadDataSet, match="line 2"):
        read(file, 1)


def test_an_empty_data_set_is_refused(tmp_path):
    with pytest.raises(BadDataSet, match="no question"):
        read(lines_of(tmp_path, ""), 1)


def test_two_workloads_at_a_time_are_refused(asahi, tmp_path):
    file = lines_of(tmp_path, {"prompt": "one"})
    ran = asahi("--dataset", file, "--trace", file)
    assert ran.exit_code == 2
    assert "one at a time" in ran.output


# ---- the stand-in


def answered(truth, **how):
    async def ask():
        TRUTH.set(truth)
        model = build(settings_of(FAST, Settings, "test"), ["mock"], mock=True).by_name["gpt-4-turbo"]
        request = Request(messages=(Message("user", "Why?"),), **how)
        return await Standin(MockConfig(latency_share=0)).complete(model, request)

    return asyncio.run(ask())


def test_the_stand_in_says_the_truth_and_bills_its_length():
    found = answered("Because it is so, and has always been.")
    assert (found.text, found.finish_reason) == ("Because it is so, and has always been.", "stop")
    assert 8 <= found.usage.output_tokens <= 11
    cut = answered("word " * 100, max_tokens=10)
    assert (cut.usage.output_tokens, cut.finish_reason) == (10, "length")
    assert answered(None).text.startswith("Mock answer")


def test_each_meaning_has_one_answer_and_no_two_the_same():
    found = truths(built_in(1))
    assert len(found) == len(set(found.values())) == 140
    known = Case(id="a", kind="original", wire="native", body=b"", meaning="m", answer="Four.")
    assert truths([known]) == {"m": "Four."}


# ---- false hits


def test_the_interval_of_a_share_is_wilson_s():
    """Recomputed by hand for 1 of 10, and the closed forms of the ends."""
    low, high = wilson(1, 10)
    assert (low, high) == (pytest.approx(0.01788, abs=1e-5), pytest.approx(0.40415, abs=1e-5))
    assert wilson(0, 100) == (0.0, pytest.approx(1.959964**2 / (100 + 1.959964**2)))
    assert wilson(5, 5)[1] == 1.0
    assert wilson(0, 0) is None


def outcomes(*hits):
    """A paid answer for a and for b, then hits: (tier, meaning, text)."""
    told = [(0, "a", "A"), (0, "b", "B"), *hits]
    cases = [
        Case(id=str(place), kind="original", wire="native", body=b'{"prompt": "?"}', meaning=meaning)
        for place, (_, meaning, _) in enumerate(told)
    ]
    return cases, [Outcome(cost=0, tier=tier, text=text) for tier, _, text in told]


def test_each_tier_has_its_own_rate():
    truth = judge(*outcomes((1, "a", "A"), (2, "a", "A"), (2, "b", "A"), (2, "b", "B"), (2, "b", "B")))
    rates = {each.tier: (each.hits, each.false_hits, each.rate) for each in truth.by_tier}
    assert rates == {1: (1, 0, 0.0), 2: (4, 1, 0.25)}
    assert (truth.hits, truth.rate, truth.false_hit_ids) == (5, 0.2, ["4"])


def test_a_learning_tier_is_held_against_the_bound_and_the_exact_one_against_none():
    right = [(2, "a", "A")] * 9
    assert not judge(*outcomes(*right, (2, "a", "B"))).proper
    assert judge(*outcomes(*right, (2, "a", "B")), bound=0.05).proper
    assert not judge(*outcomes(*right, *[(2, "a", "B")] * 9), bound=0.05).proper
    assert not judge(*outcomes(*right, (1, "a", "B")), bound=1.0).proper


def test_an_answer_from_nowhere_is_false_unless_it_may_come_from_a_recheck():
    told = outcomes((2, "a", "?"), (1, "a", "?"))
    assert judge(*told).false_hits == 2
    spared = judge(*told, real=True)
    assert (spared.false_hits, spared.unjudged, spared.false_hit_ids) == (1, 1, ["3"])


class Careless:
    """A tier that answers whatever begins with the same words, and has each hit checked again."""

    def __init__(self, gateway):
        self.gateway, self.kept = gateway, {}

    async def get(self, key, request, principal):
        found = self.kept.get(request.messages[-1].text[:10])
        if found is None:
            return None
        self.gateway.detach(recheck(self.gateway, request, principal, found.model, "semantic_cache"))
        return Hit(completion=found, tier=2, entry_id="careless")

    async def put(self, key, request, principal, completion):
        self.kept[request.messages[-1].text[:10]] = completion

    async def clear(self, org):
        self.kept.clear()


def careless(monkeypatch):
    @asynccontextmanager
    async def opened(config, gateway):
        yield Careless(gateway)

    registered(monkeypatch, register_cache_tiers=Factory("careless", Config, opened))
    return {**FAST, "cache": {"tiers": ["exact", "careless"]}}


def test_the_false_hits_of_a_data_set_are_found_and_told(asahi, monkeypatch, tmp_path):
    file = lines_of(tmp_path, *questions("Tell me, how do I {}?"))
    ran = asahi("--json", "--dataset", file, config=careless(monkeypatch))
    found = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert found["truth"]["false_hits"] == found["caching"]["by_tier"]["2"] == 4
    told = found["truth"]["told"][0]
    assert told["prompt"] != told["answers"]
    assert told["prompt"].startswith("Tell me, how do I ")
    assert told["meaning"] != told["answers_meaning"]
    assert told["answer"] == ""
    assert found["saving"]["by_false_hits"] == found["saving"]["by_caching"] > 0
    assert asahi("--dataset", file, "--max-false-rate", "0.5", config=careless(monkeypatch)).exit_code == 1
    assert asahi("--dataset", file, "--max-false-rate", "1", config=careless(monkeypatch)).exit_code == 0


def test_what_rechecks_cost_is_in_asahi_s_bill(monkeypatch, tmp_path):
    how = plan(cases_of(tmp_path, *questions(*FORMS)), careless(monkeypatch))
    found = asyncio.run(run(how, lambda: None))
    saving, books = found.saving, found.asahi_books
    assert books.agree
    assert saving.overhead == books.own_calls > 0
    assert saving.by_caching + saving.by_routing - saving.overhead == pytest.approx(saving.dollars)
    assert saving.cost == pytest.approx(found.asahi.cost + books.own_calls)
    assert saving.dollars_low <= saving.dollars <= saving.dollars_high
    assert saving.overhead > saving.dollars_high - saving.dollars
    assert saving.claimed == pytest.approx(saving.dollars, rel=0.05)
    assert sum(saving.claimed_by.values()) == pytest.approx(saving.claimed)


# ---- which caches


def tiers_left(tree, most):
    settings = settings_of(tree, Settings, "test")
    found = plugins.load_plugins()
    return tiers_of(limit(settings, found, most), found)


@pytest.mark.parametrize(("most", "left"), [(0, ()), (1, ("exact",)), (2, ("exact", "semantic"))])
def test_a_limit_keeps_the_tiers_up_to_its_number(most, left):
    pytest.importorskip("asahi_semantic")
    assert tiers_left({**FAST, "cache_tiers": {"semantic": {}}}, most) == left


def test_a_tier_of_another_name_counts_by_its_place():
    assert tiers_left({**FAST, "cache": {"tiers": ["exact", "own"]}}, 1) == ("exact",)
    assert tiers_left({**FAST, "cache": {"tiers": ["exact", "own"]}}, 2) == ("exact", "own")


def test_without_a_cache_only_the_choice_of_models_saves(asahi):
    ran = asahi("--json", "--tier", 0, "--concurrency", 8, config=FAST)
    found = json.loads(ran.stdout)
    assert (found["caching"]["hits"], found["caching"]["tiers"], found["caching"]["shared"]) == (0, [], 0)
    assert found["saving"]["by_caching"] == 0 < found["saving"]["by_routing"]


def test_the_semantic_tier_is_added_where_it_is_not_configured():
    pytest.importorskip("asahi_semantic")
    found = plugins.load_plugins()
    for tree in (FAST, {**FAST, "cache": {"tiers": ["exact"]}}, {**FAST, "cache_tiers": {"semantic": {}}}):
        assert tiers_of(with_semantic(settings_of(tree, Settings, "test"), found), found) == ("exact", "semantic")


def test_the_semantic_tier_must_be_installed(monkeypatch):
    monkeypatch.setenv("ASAHI_PLUGINS", "")
    with pytest.raises(ConfigError, match="not installed"):
        with_semantic(settings_of(FAST, Settings, "test"), plugins.load_plugins())


LENIENT = {
    "max_error_rate": 0.2,
    "error_basis": "requests",
    "cost_sensitivity": "high",
    "mistake_factor": 5,
    "recheck_rate": 1,
}


def test_the_semantic_tier_is_really_used_and_judged(asahi, tmp_path):
    pytest.importorskip("asahi_semantic")
    asked = questions(*FORMS, *ALIKE, asked=ASKED + MORE)
    lines = [{**each, "task_type": "faq"} for each in asked]
    tree = {**FAST, "cache_tiers": {"semantic": LENIENT}}
    file = lines_of(tmp_path, *lines, *lines[:20])
    ran = asahi("--json", "--dataset", file, "--max-false-rate", "0.2", config=tree)
    found = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert found["caching"]["by_kind"]["repeat"] == 20
    assert found["caching"]["by_tier"]["1"] > 5
    assert found["caching"]["by_tier"]["2"] > 10
    assert {each["tier"] for each in found["truth"]["by_tier"]} == {1, 2}
    assert found["tier_latency_ms"]["2"]["count"] == found["caching"]["by_tier"]["2"]
    assert found["asahi_books"]["agree"]
    assert not (tmp_path / "data").exists()


def test_the_default_semantic_tier_says_why_it_serves_nothing_yet(asahi):
    pytest.importorskip("asahi_semantic")
    ran = asahi("--mock", "--semantic", "--requests", 60)
    assert ran.exit_code == 0
    assert "The semantic tier served nothing" in ran.stdout
    assert "not in use, see --semantic" not in ran.stdout


def test_a_mock_run_pays_no_embedder(asahi, monkeypatch):
    """The configuration's embedder would be called for real, whatever answers the questions."""
    opened = []

    @asynccontextmanager
    async def open_vendor(config, gateway):
        opened.append(gateway)
        yield None

    registered(monkeypatch, register_embedders=Factory("vendor", Config, open_vendor))
    tree = {**FAST, "embedders": {"paid": {"type": "vendor"}}}
    ran = asahi("--mock", "--requests", 2, config=tree)
    assert isinstance(ran.exception, ConfigError)
    assert "embedders.paid" in ran.exception.message
    assert asahi("--mock", "--requests", 2, "--tier", 1, config=tree).exit_code == 0
    assert not opened


def test_a_mock_run_seals_with_a_key_that_passes():
    settings = settings_of({**FAST, "cache_tiers": {"semantic": {}}}, Settings, "test")
    one, two = asahi_settings(settings).encryption.key, asahi_settings(settings).encryption.key
    assert one.reveal() != two.reveal()


def test_all_sides_have_percentiles(asahi):
    found = report(cases=built_in(1)[:60])
    for each in (found.baseline.latency_ms, found.asahi.latency_ms, found.miss_latency_ms, found.tier_latency_ms["1"]):
        assert 0 < each.p50 <= each.p90 <= each.p95 <= each.p99
