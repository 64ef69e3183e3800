"""The official OpenAI package for JavaScript, unchanged but for its base URL, against the gateway.

Only this test may skip: it needs node, and the registry of npm the first time. The package is pinned by its digest.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.served import gateway, settled, upstream

KEY = "a-long-random-key-0123456789"
HERE = Path(__file__).parent / "npm"
#: What npm says when it cannot reach its registry, as opposed to when something is wrong.
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "network")
MODELS = [
    {"name": "small", "provider": "openai", "cost_per_1k_input_tokens": 0.0005, "cost_per_1k_output_tokens": 0.0015},
    {"name": "embed", "provider": "openai", "cost_per_1k_input_tokens": 0.00002, "capabilities": ["embeddings"]},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The script with its package installed beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed here")
    folder = tmp_path_factory.mktemp("npm")
    for path in HERE.iterdir():
        shutil.copy(path, folder)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the registry of npm did not answer in time")
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        pytest.skip(f"the registry of npm cannot be reached: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return [node, str(folder / "client.mjs")]


@pytest.fixture(scope="module")
def found(client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdk")
    prices = ("--price", "small=0.5,1.5", "--price", "embed=0.02,0")
    bodies = folder / "bodies.jsonl"
    with upstream(folder, *prices, "--key", "sk-vendor", "--bodies", str(bodies)) as (vendor, ledger):
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}]},
            "providers": {"openai": {"api_key": "sk-vendor", "base_url": f"{vendor.url}/v1", "max_retries": 0}},
            "models": MODELS,
        }
        with gateway(folder, configuration) as served:
            command = [*client, f"{served.url}/v1", KEY]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout) | {"ledger": settled(ledger, bodies)}


def test_chat_is_answered_with_its_price(found):
    assert found["whole"]["choices"][0]["message"]["content"]
    assert round(found["whole"]["asahi"]["cost"] * 1e9) == found["ledger"][0]["cost"]


def test_chat_is_streamed_with_usage(found):
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in found["chunks"] if chunk["choices"])
    assert text == found["whole"]["choices"][0]["message"]["content"]
    assert found["chunks"][-1]["usage"]["completion_tokens"] > 0
    assert found["chunks"][-1]["asahi"]["cache"] == "t1"


def test_a_tool_is_called(found):
    (call,) = found["called"]["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"]).keys()) == ("look_up", {"a"})


def test_responses_are_answered_whole_streamed_and_through_the_helper(found):
    assert found["response"]["output_text"]
    kinds = [event["type"] for event in found["events"]]
    assert (kinds[0], kinds[-1], kinds.count("response.completed")) == ("response.created", "response.completed", 1)
    text = "".join(event["delta"] for event in found["events"] if event["type"] == "response.output_text.delta")
    assert text == found["events"][-1]["response"]["output"][0]["content"][0]["text"]
    assert found["final"]["status"] == "completed"


def test_vectors_are_the_same_packed_and_plain(found):
    packed, plain = ([row["embedding"] for row in found[name]["data"]] for name in ("vectors", "floats"))
    assert [len(vector) for vector in packed] == [1536, 1536]
    assert packed == plain
    assert found["floats"]["asahi"]["cost"] == 0


def test_errors_are_the_packages_own(found):
    assert found["errors"] == [
        {"name": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"},
        {"name": "BadRequestError", "status": 400, "code": "invalid_request", "param": "previous_response_id"},
        {"name": "BadRequestError", "status": 400, "code": "invalid_request", "param": "input[1]"},
        {"name": "AuthenticationError", "status": 401, "code": "unauthenticated", "param": None},
    ]
