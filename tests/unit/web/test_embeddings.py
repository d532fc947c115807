"""``POST /v1/embeddings`` by OpenAI's own client, and in Jina's shape."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import openai
import pytest

from scot.client import ScotClient
from tests.support.served_web import ask
from tests.unit.web.conftest import png

IMAGE = base64.b64encode(png((200, 0, 0))).decode()


@pytest.fixture(scope="module")
def vectors(address: str) -> Any:
    with ScotClient(address) as client:
        return client.encode(images=[png((200, 0, 0))], texts=["red", "a blue one"])


@pytest.mark.parametrize("encoding", ["float", "base64", openai.omit])
def test_openais_client_gets_the_vectors_of_encode(url: str, vectors: Any, encoding: Any) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        answer = client.embeddings.create(input=["red", "a blue one"], model="scot", encoding_format=encoding)
        one = client.embeddings.create(input="red", model=vectors.encoder, dimensions=32)
    assert answer.model == vectors.encoder
    rows = [each.embedding for each in answer.data]
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows]
    np.testing.assert_allclose(rows, vectors.vectors[1:], atol=1e-6)
    assert [each.index for each in answer.data] == [0, 1]
    np.testing.assert_allclose(one.data[0].embedding, vectors.vectors[1], atol=1e-6)


def test_openais_client_raises_its_own_errors(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="this service has the encoder"):
            client.embeddings.create(input="red", model="text-embedding-3-small")
        with pytest.raises(openai.BadRequestError, match=r"input\[1\].text: must not be empty") as refused:
            client.embeddings.create(input=["red", ""], model="scot")
    assert (refused.value.param, refused.value.code) == ("input[1]", "invalid_argument")


@pytest.mark.parametrize("image", [IMAGE, f"data:image/png;base64,{IMAGE}"])
def test_jinas_shape_mixes_texts_and_images(url: str, vectors: Any, image: str) -> None:
    body = {
        "model": "scot",
        "normalized": True,
        "embedding_type": "float",
        "input": [{"image": image}, {"text": "red"}],
    }
    answer = ask(url, "/v1/embeddings", body)
    assert answer.status == 200, answer.body
    np.testing.assert_allclose([each["embedding"] for each in answer.json["data"]], vectors.vectors[:2], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "input: must be"),
        ([], "the body is a JSON object"),
        ({"input": []}, "input: must be"),
        ({"input": [[1, 2]]}, "input[0]: token ids"),
        ({"input": [5]}, "input[0]: token ids"),
        ({"input": [None]}, "input[0]: must be text"),
        ({"input": {"text": "a", "image": "b"}}, "input[0]: must be text"),
        ({"input": {"audio": "a"}}, "input[0].audio: there is no such field"),
        ({"input": {"image": "https://example.org/a.png"}}, "input[0].image: the service fetches nothing"),
        ({"input": {"image": "*"}}, "input[0].image: is not base64"),
        (
            {"input": {"image": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()}},
            "input[0].image",
        ),
        ({"input": "\ud800"}, "input[0]: is not UTF-8"),
        ({"input": ["a"] * 65}, "input: 65 are more than 64"),
        ({"input": "a", "dimensions": 8}, "dimensions: the vectors of this encoder have 32"),
        ({"input": "a", "encoding_format": "ubinary"}, "encoding_format: must be one of"),
        ({"input": "a", "normalized": False}, "normalized: "),
        ({"input": "a", "task": "retrieval"}, "task: there is no such field here"),
        ({"input": "a", "model": 5}, "model: must be text"),
        ({"input": "word " * 300, "truncate": False}, "input[0]: is longer than"),
    ],
)
def test_a_wrong_request_is_refused_in_both_shapes(url: str, body: Any, detail: str) -> None:
    answer = ask(url, "/v1/embeddings", body)
    assert answer.status == 400
    assert answer.json["detail"].startswith(detail)
    assert answer.json["error"]["message"] == answer.json["detail"]
