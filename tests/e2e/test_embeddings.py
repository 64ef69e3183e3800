"""Embeddings through the official OpenAI SDK, against the gateway in front of the scripted vendor and its books."""

import json
import struct
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from openai import OpenAI
from tests.e2e.served import gateway, settled, upstream

KEY = "a-long-random-key-0123456789"
OTHER = "another-random-key-0123456789"
PRICE = ("--price", "vendor-embed=0.02,0")
EMBED = {
    "name": "small",
    "provider": "openai",
    "api_model": "vendor-embed",
    "cost_per_1k_input_tokens": 0.00002,
    "max_input_tokens": 8191,
    "capabilities": ["embeddings"],
}
CHAT = {"name": "chat", "provider": "openai", "cost_per_1k_input_tokens": 0.0005, "cost_per_1k_output_tokens": 0.0015}


class Served:
    """The gateway's address and the vendor's books."""

    def __init__(self, url, ledger, bodies):
        self.url = url
        self.ledger = ledger
        self.bodies = bodies

    def embedded(self):
        return [row for row in settled(self.ledger, self.bodies) if row["path"] == "/v1/embeddings"]

    def post(self, body, path="/v1/embeddings", **headers):
        return httpx.post(f"{self.url}{path}", json=body, headers={"authorization": f"Bearer {KEY}", **headers})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    bodies = folder / "bodies.jsonl"
    with upstream(folder, *PRICE, "--key", "sk-vendor", "--bodies", str(bodies)) as (vendor, ledger):
        resilience = {"max_retries": 0, "breaker": {"consecutive_failures": 1_000, "min_calls": 1_000}}
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}, {"key": OTHER, "org": "other"}]},
            "providers": {"openai": {"api_key": "sk-vendor", "base_url": f"{vendor.url}/v1", **resilience}},
            "models": [CHAT, EMBED],
        }
        with gateway(folder, configuration) as process:
            yield Served(process.url, ledger, bodies)


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def ask(client, texts, **more):
    return client.embeddings.create(model="small", input=texts, **more)


def test_it_embeds_and_tells_what_it_cost(client, served):
    found = ask(client, ["one text", "another text"])
    row = served.embedded()[-1]
    assert [(each.index, len(each.embedding)) for each in found.data] == [(0, 1536), (1, 1536)]
    assert found.data[0].embedding != found.data[1].embedding
    assert (found.model, found.usage.prompt_tokens) == ("small", row["input_tokens"])
    assert round(found.asahi["cost"] * 1e9) == row["cost"] > 0


def test_the_sdks_base64_and_plain_numbers_are_the_same_vector(client):
    packed = ask(client, "twice the same").data[0].embedding
    plain = ask(client, "twice the same", encoding_format="float").data[0].embedding
    assert packed == plain
    raw = ask(client, "twice the same", encoding_format="base64").data[0].embedding
    assert list(struct.unpack("<1536f", b64decode(raw))) == plain


def test_only_unknown_texts_reach_the_vendor(client, served):
    first = ask(client, ["known a", "known b"])
    before = len(served.embedded())
    raw = client.embeddings.with_raw_response.create(model="small", input=["known b", "new c", "known a"])
    second, row = raw.parse(), served.embedded()[-1]
    assert len(served.embedded()) == before + 1
    assert second.data[0].embedding == first.data[1].embedding
    assert second.data[2].embedding == first.data[0].embedding
    assert row["input_tokens"] == len("new c") // 4 + 1
    assert round(second.asahi["cost"] * 1e9) == row["cost"]
    assert (second.asahi["cached_inputs"], raw.headers["x-asahi-cache"]) == (2, "miss")
    again = client.embeddings.with_raw_response.create(model="small", input=["known b", "new c"])
    assert (again.headers["x-asahi-cache"], again.headers["x-asahi-cost"]) == ("t1", "0")
    assert len(served.embedded()) == before + 1


def test_2048_texts_are_one_answer_and_as_many_calls_as_it_takes(client, served):
    before = len(served.embedded())
    texts = [f"text {number} of many" for number in range(2_048)]
    found = ask(client, texts, dimensions=16)
    calls = served.embedded()[before:]
    assert (len(found.data), len(calls)) == (2_048, 8)
    assert round(found.asahi["cost"] * 1e9) == sum(row["cost"] for row in calls)
    assert found.usage.prompt_tokens == sum(row["input_tokens"] for row in calls)
    assert found.data[2_000].embedding == ask(client, texts[2_000], dimensions=16).data[0].embedding


def test_tenants_never_share(served, client):
    ask(client, "a tenant's own")
    before = len(served.embedded())
    with OpenAI(base_url=f"{served.url}/v1", api_key=OTHER, max_retries=0) as other:
        assert ask(other, "a tenant's own").asahi["cached_inputs"] == 0
    assert len(served.embedded()) == before + 1


def test_dimensions_reach_the_vendor_and_are_kept_apart(client):
    long, short = ask(client, "how long"), ask(client, "how long", dimensions=256)
    assert (len(long.data[0].embedding), len(short.data[0].embedding)) == (1536, 256)
    assert short.asahi["cached_inputs"] == 0


@pytest.mark.parametrize("cache", ["off", "refresh"])
def test_the_cache_is_passed_by(client, served, cache):
    ask(client, "passed by")
    before = len(served.embedded())
    found = ask(client, "passed by", extra_body={"cache": cache})
    assert (len(served.embedded()), found.asahi["cache"]) == (before + 1, "bypass")


def test_auto_is_the_configured_model(client):
    found = client.embeddings.create(model="auto", input="choose")
    assert (found.model, "no model is named" in found.asahi["routing_reason"]) == ("small", True)


def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.embeddings.create(model="smal", input="x")
    assert refused.value.code == "model_not_found"


def test_a_chat_model_does_not_embed_and_an_embedding_model_does_not_chat(client, served):
    with pytest.raises(openai.BadRequestError, match="does not embed"):
        client.embeddings.create(model="chat", input="x")
    turns = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="only embeds"):
        client.chat.completions.create(model="small", messages=turns)
    for path, body in (
        ("/infer", {"prompt": "x", "model": "small"}),
        ("/v1/messages", {"model": "small", "max_tokens": 5, "messages": turns}),
        ("/v1/messages/count_tokens", {"model": "small", "messages": turns}),
    ):
        assert served.post(body, path).status_code == 400, path
    assert client.chat.completions.create(model="auto", messages=turns).model == "chat"


@pytest.mark.parametrize(
    ("given", "place"),
    [([], "input"), ("", "input"), (["a", " "], "input[1]"), ([1, 2], "input"), ([[1], [2]], "input")],
)
def test_what_cannot_be_embedded_is_a_bad_request_that_names_it(client, served, given, place):
    before = len(served.embedded())
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, given)
    assert (refused.value.param, len(served.embedded())) == (place, before)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("status=503", openai.InternalServerError),
        ("status=400", openai.BadRequestError),
        ("vectors=few", openai.InternalServerError),
        ("vectors=text", openai.InternalServerError),
        ("reset_at=0", openai.InternalServerError),
        ("garbage_at=0", openai.InternalServerError),
        ("body_error", openai.InternalServerError),
    ],
)
def test_the_vendors_failures_are_errors_and_never_cached(client, served, script, error):
    for _ in range(2):
        before = len(served.embedded())
        with pytest.raises(error):
            ask(client, f"[[fakeup: {script}]]")
        assert len(served.embedded()) == before + 1


def test_vectors_out_of_order_are_put_in_order(client):
    ask(client, "which is which")
    texts = ["[[fakeup: vectors=shuffled]] first", "which is which", "[[fakeup: vectors=shuffled]] last"]
    found = ask(client, texts, extra_body={"cache": "off"})
    assert found.data[1].embedding == ask(client, "which is which").data[0].embedding
    assert [each.index for each in found.data] == [0, 1, 2]


def test_a_wrong_dimension_is_a_failure(client):
    with pytest.raises(openai.InternalServerError):
        ask(client, "[[fakeup: vectors=short]]", dimensions=64)


@pytest.mark.parametrize(
    "usage", ["no_usage", "usage=negative", "usage=absurd", "usage=float", "usage=nan", "usage=below"]
)
def test_a_bad_usage_never_lowers_the_bill(client, usage):
    text = f"[[fakeup: {usage}]] " + "word " * 50
    found = ask(client, text)
    assert found.asahi["warnings"] == ["usage_estimated"]
    assert found.asahi["cost"] * 1e9 >= 20 * (len(text) // 4)


def test_the_same_key_gives_the_same_answer_once(served):
    before = len(served.embedded())
    body = {"model": "small", "input": "only once", "cache": "off"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.post(body, **{"idempotency-key": "once"}), range(8)))
    again = served.post(body, **{"idempotency-key": "once"})
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert len(served.embedded()) == before + 1
    assert served.post({**body, "input": "other"}, **{"idempotency-key": "once"}).status_code == 422


def test_headers_and_explain_tell_of_it(served):
    answer = served.post({"model": "small", "input": ["told", "of"]})
    request_id = answer.headers["x-asahi-request-id"]
    explained = httpx.get(f"{served.url}/explain/{request_id}", headers={"authorization": f"Bearer {KEY}"}).json()
    assert (explained["candidates"][0]["model"], explained["money"]["cost"]) == (
        "small",
        answer.json()["asahi"]["cost"],
    )
    assert answer.headers["x-asahi-model"] == "small"
    assert "e" not in answer.headers["x-asahi-cost"]


def test_an_end_user_is_a_tag_and_no_identity(served):
    """The stored event is only seen through what it sums to, so this asks for the answer alone."""
    assert served.post({"model": "small", "input": "whose", "user": "Somebody Else"}).status_code == 200
    assert served.post({"model": "small", "input": "whose", "user_id": "somebody"}).status_code == 403


def test_the_vendors_rate_limit_comes_with_its_retry_after(client):
    """Last of those that share a gateway: the credential rests from here on."""
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, "[[fakeup: status=429 retry_after=7]]")
    assert refused.value.response.headers["retry-after"] == "7"


def test_the_built_in_models_embed_without_a_vendor(tmp_path):
    with gateway(tmp_path) as process, OpenAI(base_url=f"{process.url}/v1", api_key="x", max_retries=0) as client:
        small = client.embeddings.create(model="auto", input=["a", "b"])
        large = client.embeddings.create(model="text-embedding-3-large", input="a", dimensions=64)
    assert (small.model, small.usage.prompt_tokens) == ("text-embedding-3-small", 2)
    assert round(small.asahi["cost"] * 1e9) == 2 * 20
    assert (len(large.data[0].embedding), round(large.asahi["cost"] * 1e9)) == (64, 130)
    json.dumps(small.asahi)
