"""Where the time of a query goes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from scot.cli import main
from scot.client import NewItem, ScotClient
from scot.commands.profile import STAGES, stages
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here


def test_stages_sum_up_to_what_the_caller_waits_for() -> None:
    timings = {"decode": 0.01, "queue": 0.02, "compose": 0.04, "search": 0.08, "total": 0.2}
    found = stages(0.5, 0.1, timings)
    assert list(found) == list(STAGES)
    assert sum(found.values()) == pytest.approx(0.5)
    assert (found["network"], found["other"]) == (pytest.approx(0.2), pytest.approx(0.05))


def test_a_service_is_profiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    with served_here(from_args({"encoder": encoder, "store": str(tmp_path / "qdrant"), "threads": 1})) as target:
        with ScotClient(target) as client:
            client.upsert([NewItem("a", vector=np.ones(32))])
        for query in ([], ["--item-id", "a"], ["--edit", "a"]):
            assert main(["profile", "--address", target, "--queries", "3", "--warm-up", "1", *query]) == 0
            said = capsys.readouterr().out
            rows = re.findall(r"^(\w[\w ]*?) +([\d.]+) +([\d.]+) +(\d+)%  ", said, re.M)
            assert [row[0] for row in rows] == [*STAGES, "whole query"]
            assert float(rows[-1][1]) > 0
            assert rows[-1][3] == "100"
        assert main(["profile", "--address", target, "--queries", "3", "--warm-up", "1", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["address"], found["composer"], found["queries"]) == (target, "sum", 3)
        assert list(found["stages"]) == list(STAGES)
        assert sum(each["share"] for each in found["stages"].values()) == pytest.approx(1.0)
        assert 0 < found["whole_query"]["p50_ms"] <= found["whole_query"]["p95_ms"]
        assert main(["profile", "--address", target, "--item-id", "nobody"]) == 1
        assert "nobody" in capsys.readouterr().err
        assert main(["profile", "--address", target, "--queries", "0"]) == 2
