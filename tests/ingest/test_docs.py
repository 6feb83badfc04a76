"""The documents of ingest's wires say what is so: their commands run, their tables are complete."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.admission import REASONS
from ingest.events import Ping
from ingest.schemas import PingIn
from tests.ingest import wire
from tests.ingest.service import IngestService

ROOT = Path(__file__).resolve().parents[2]
WIRE = ROOT / "docs" / "wire"
PINGS, KAFKA, PROBLEMS = ((WIRE / name).read_text() for name in ("pings.md", "kafka.md", "problems.md"))


@pytest.mark.pipeline
def test_the_commands_of_the_document_give_the_answers_of_the_document(service: IngestService) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true" or os.environ.get("RIDESTREAM_REQUIRE_SHARED"):
            pytest.fail("there is no curl: install it")
        pytest.skip("no curl")
    service.create_topics()
    service.start()
    examples = re.findall(r"```sh\n(.*?)```\n\n```json\n(.*?)```", PINGS, re.DOTALL)
    assert len(examples) == 2
    for command, answer in examples:
        script = command.replace("http://127.0.0.1:8080", service.url).replace(
            ".venv/bin/ridestream", f"{sys.executable} -m infra.cli"
        )
        env = {**os.environ, "RIDESTREAM_JWT_KEY": wire.KEY}
        done = subprocess.run(
            ["sh", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert json.loads(done.stdout or done.stderr) == json.loads(answer)


def test_every_member_and_every_reason_is_documented() -> None:
    for name in (*PingIn.__struct_fields__, *REASONS):
        assert f"`{name}`" in PINGS
    rows = re.findall(r"^\| ([\d, ]+) \| (.+?) \|", KAFKA, re.MULTILINE)
    documented = [name for _, names in rows for name in re.findall(r"`(\w+)`", names)]
    assert documented == list(Ping.__struct_fields__)


def test_every_problem_type_is_documented_with_its_status() -> None:
    documented = {
        (int(status), slug)
        for slug, statuses in re.findall(r"^\| `/problems/([\w-]+)` \| ([\d, ]+) \|", PROBLEMS, re.MULTILINE)
        for status in statuses.split(",")
    }
    sources = "".join(path.read_text() for room in ("ingest", "infra") for path in (ROOT / room).glob("*.py"))
    raised = {
        (int(status), slug)
        for status, slug in re.findall(r'(?:Refused|problem|_problem_response)\(\s*(\d{3}), "([\w-]+)"', sources)
    }
    assert len(raised) > 10
    assert raised <= documented


def test_the_partitions_of_the_document_are_right() -> None:
    tests = doctest.DocTestParser().get_doctest(KAFKA, {}, "kafka.md", None, None)
    assert doctest.DocTestRunner().run(tests).failed == 0
