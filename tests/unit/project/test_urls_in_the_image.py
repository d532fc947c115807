"""What the chart and the docs say of URLs is what the image and the package have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from scot.data.remote_errors import EXTRAS

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"s3": "s3fs", "gcs": "gcsfs", "hf": "huggingface-hub", "http": "aiohttp"}


@pytest.mark.parametrize("extra", sorted(set(EXTRAS.values())))
def test_an_extra_brings_its_package_and_is_in_the_image_and_the_docs(extra: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(each.startswith(PACKAGES[extra]) for each in extras[extra])
    assert f"\n{PACKAGES[extra]}==" in (ROOT / "requirements" / "search.txt").read_text()
    assert "requirements/search.txt" in (ROOT / "docker" / "search.Dockerfile").read_text()
    assert f"| `{extra}` |" in (ROOT / "docs" / "jobs.md").read_text()
    assert f"`{extra}`" in (ROOT / "docs" / "install.md").read_text()


def test_urls_that_the_chart_takes_are_of_these_extras() -> None:
    values = (ROOT / "helm" / "values.yaml").read_text()
    assert yaml.safe_load(values)["artifacts"]["url"] == ""
    (comment,) = re.findall(r"artifacts:\n  # -- (.*)", values)
    protocols = re.findall(r"([a-z0-9]+)://", comment)
    assert protocols == ["s3", "gs"]
    assert all(protocol in EXTRAS for protocol in protocols)
