"""F1: what the contract says holds: generated requests, good and bad, for every operation, with fixed randomness."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.served import gateway

KEY = "a-bootstrap-key-0123456789abcdef"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
)
#: A body that is too large is refused for that, and nothing else about it is looked at.
REFUSED = "[400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]"


def test_no_generated_request_breaks_the_contract(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSED}\n")
    tree = {"auth": {"type": "keys"}, "providers": {"mock": {}}}
    with gateway(tmp_path, tree, ASAHI_BOOTSTRAP_ADMIN_KEY=KEY) as served:
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/openapi.json"]
        command += ["-H", f"Authorization: Bearer {KEY}", "--seed", "7", "-n", "4", "--phases", "coverage,fuzzing"]
        command += ["--checks", ",".join(CHECKS), "--continue-on-failure", "--no-color", "--warnings", "off"]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert told.returncode == 0, told.stdout[-6_000:]
    generated = re.search(r"(\d+) generated", told.stdout)
    assert generated is not None
    assert int(generated[1]) > 1_000
