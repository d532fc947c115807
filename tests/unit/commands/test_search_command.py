"""The commands that call a service, against one that records its requests: search, get, delete, encode, status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from rich.console import Console

from scot.cli import main
from scot.client import Hit, Origin, SearchResult
from scot.commands.search import hits_table
from scot.v1 import index_pb2, index_pb2_grpc, search_pb2, search_pb2_grpc


@dataclass
class Recorded:
    """A service of two items, and the requests that it received."""

    address: str = ""
    requests: list[Any] = field(default_factory=list)


class Search(search_pb2_grpc.SearchServiceServicer):
    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def ComposeSearch(self, request: Any, context: Any) -> Any:
        self.recorded.requests.append(request)
        if request.collection == "absent":
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no collection absent")
        if request.collection == "empty":
            return search_pb2.ComposeSearchResponse(composer="sum", encoder="tiny@1")
        origin = search_pb2.Origin(source="/photos", path="a b.png")
        hits = [search_pb2.Hit(item_id="a[red]", score=0.5, origin=origin), search_pb2.Hit(item_id="b", score=0.25)]
        hits[0].payload.update({"caption": "[bold]rot", "price": 20})
        return search_pb2.ComposeSearchResponse(hits=hits, composer="sum", encoder="tiny@1", request_id="r")

    def ListComposers(self, request: Any, context: Any) -> Any:
        infos = [search_pb2.ComposerInfo(name="v1", released=True, metrics={"recall@1": 0.5}, share=1.0)]
        return search_pb2.ListComposersResponse(composers=infos, encoder="tiny@1")

    def Encode(self, request: Any, context: Any) -> Any:
        self.recorded.requests.append(request)
        vectors = [search_pb2.Vector(values=[0.0, 1.0]) for _ in request.inputs]
        return search_pb2.EncodeResponse(vectors=vectors, encoder="tiny@1", truncated=[False] * len(vectors))


class Index(index_pb2_grpc.IndexServiceServicer):
    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def GetItems(self, request: Any, context: Any) -> Any:
        items = [index_pb2.StoredItem(item_id=each) for each in request.item_ids if each != "missing"]
        for item in items:
            item.payload.update({"price": 20})
            item.origin.CopyFrom(search_pb2.Origin(source="https://shop/pictures/", path="a.png"))
        return index_pb2.GetItemsResponse(items=items)

    def CollectionInfo(self, request: Any, context: Any) -> Any:
        return index_pb2.CollectionInfoResponse(collection="gallery", items=2, encoder="tiny@1", dim=2)

    def DeleteItems(self, request: Any, context: Any) -> Any:
        self.recorded.requests.append(request)
        return index_pb2.DeleteItemsResponse(deleted=sum(each != "missing" for each in request.item_ids))


@pytest.fixture
def service() -> Iterator[Recorded]:
    recorded = Recorded()
    server = grpc.server(ThreadPoolExecutor(2))
    search_pb2_grpc.add_SearchServiceServicer_to_server(Search(recorded), server)
    index_pb2_grpc.add_IndexServiceServicer_to_server(Index(recorded), server)
    recorded.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    healthy = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")
    handlers = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": healthy})
    server.add_generic_rpc_handlers([handlers])
    server.start()
    yield recorded
    server.stop(None).wait()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scot(service: Recorded, *arguments: str) -> int:
    return main([*arguments, "--address", service.address])


def test_every_flag_of_search_reaches_the_service(service: Recorded, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[0.0, 1.0]]))
    flags = ["--vector", str(tmp_path / "v.npy"), "--edit", "blue", "--edit", "-no sleeves", "--negative", "formal"]
    flags += ["--weight", "0.5", "1", "0.25", "--filter", "price<20 and colour=red", "--offset", "3", "--limit", "2"]
    assert scot(service, "search", *flags, "--threshold", "-0.5", "--text-only") == 0
    (request,) = service.requests
    assert list(request.reference.vector.values) == [0.0, 1.0]
    assert [(edit.text, edit.weight if edit.HasField("weight") else 1.0, edit.negative) for edit in request.edits] == [
        ("blue", 0.5, False),
        ("-no sleeves", 1.0, False),
        ("formal", 0.25, True),
    ]
    assert [condition.field for condition in request.filter.must] == ["price", "colour"]
    assert (request.offset, request.limit, request.score_threshold, request.composer) == (3, 2, -0.5, "text_only")


def test_one_weight_is_for_all(service: Recorded) -> None:
    assert scot(service, "search", "--edit", "blue", "--negative", "formal", "--weight", "0.5") == 0
    assert [edit.weight for edit in service.requests[0].edits] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--edit", "a", "--weight", "1", "0.5"], "--weight needs one number, or one for each of the 1 edits"),
        (["--weight", "1"], "--weight needs one number, or one for each of the 0 edits"),
        (["--edit", "a", "--filter", "price<"], 'filter: expected a value after "<", found its end at character 7'),
        (["--edit", "a", "--text-only", "--composer", "sum"], "it contradicts --composer sum"),
        (["--vector", "missing.npy"], "the vector file missing.npy cannot be read: No such file"),
        (["--vector", "text.json"], "the vector file text.json is neither .npy nor a JSON list of numbers"),
        (["--vector", "text.npy"], "the vector file text.npy is neither .npy nor a JSON list of numbers"),
        (["--vector", "two.npy"], "the vector file two.npy must hold one vector, not an array of shape (2, 2)"),
        (["--vector", "nan.npy"], "the vector file nan.npy holds a number that is not finite"),
        (["--vector", "."], "the vector file . cannot be read: Is a directory"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_search_refuses(
    arguments: list[str], message: str, service: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("text.json", "text.npy"):
        Path(name).write_text("no vector")
    np.save("two.npy", np.ones((2, 2)))
    np.save("nan.npy", np.array([1.0, np.nan]))
    assert scot(service, "search", *arguments) == (2 if arguments[-1] == "sum" or "--weight" in arguments else 1)
    error = capsys.readouterr().err
    assert error.startswith("scot search: ")
    assert message in error
    assert error.count("\n") == 1
    assert not service.requests


def test_search_prints_one_line_of_json(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert scot(service, "search", "--edit", "red", "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (found["composer"], found["encoder"], found["request_id"]) == ("sum", "tiny@1", "r")
    first, second = found["hits"]
    assert (first["item_id"], first["score"], first["payload"]) == (
        "a[red]",
        0.5,
        {"caption": "[bold]rot", "price": 20},
    )
    assert (first["origin"]["source"], first["origin"]["path"], second["origin"]) == ("/photos", "a b.png", None)


def test_an_error_is_json_too_and_the_exit_code_stays(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    for json_flag in ([], ["--json"]):
        assert scot(service, "search", "--edit", "red", "--collection", "absent", *json_flag) == 1
        captured = capsys.readouterr()
        assert captured.err == "scot search: there is no collection absent\n"
        expected = {"error": {"status": "NOT_FOUND", "message": "there is no collection absent"}}
        assert captured.out == (json.dumps(expected) + "\n" if json_flag else "")


def test_the_table_has_clickable_paths_and_takes_no_markup(
    service: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scot(service, "search", "--edit", "red", "--offset", "2") == 0
    out = capsys.readouterr().out
    assert "a[red]" in out
    assert "[bold]rot" in out
    assert "a b.png" in out
    assert "│ 3 " in out
    result = SearchResult((Hit("a", 0.5, {}, origin=Origin("/photos", "a b.png")),), "sum", "tiny", False, {}, "r")
    console = Console(force_terminal=True, width=100, record=True)
    with console.capture() as captured:
        console.print(hits_table(0, result))
    assert "file:///photos/a%20b.png" in captured.get()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No hits. If the collection is empty, `scot index DIR` fills it."),
        (["--filter", "price<5", "--offset", "9"], "No hits. Perhaps no item is left after --filter and --offset:"),
        (["--threshold", "0"], "No hits. Perhaps no item is left after --threshold:"),
    ],
)
def test_no_hits_names_what_may_exclude_them(
    service: Recorded, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scot(service, "search", "--edit", "a", "--collection", "empty", *arguments) == 0
    assert message in " ".join(capsys.readouterr().out.split())


def test_get(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert scot(service, "get", "a", "b") == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["a", "  https://shop/pictures/a.png", "  price: 20"]
    assert scot(service, "get", "missing", "a") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("a\n")
    assert captured.err == "scot get: there is no item 'missing'\n"
    assert scot(service, "get", "missing", "a", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["missing"] == ["missing"]
    assert [item["item_id"] for item in found["items"]] == ["a"]


def test_delete(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert scot(service, "delete", "a", "missing") == 0
    assert capsys.readouterr().out == "deleted 1 of 2 items\n"
    assert scot(service, "delete", "a", "a", "--json") == 0
    assert [list(request.item_ids) for request in service.requests] == [["a", "missing"], ["a"]]
    assert json.loads(capsys.readouterr().out) == {"deleted": 1, "missing": 0}


@pytest.mark.usefixtures("here")
def test_encode_gives_what_search_reads(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert scot(service, "encode", "--text", "a blue shirt") == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {"encoder": "tiny@1", "truncated": [False], "vectors": [[0.0, 1.0]]}
    Path("v.json").write_text(out)
    assert scot(service, "encode", "--text", "a blue shirt", "--output", "new/v.npy") == 0
    for name in ("v.json", "new/v.npy"):
        assert scot(service, "search", "--vector", name, "--json") == 0
        assert list(service.requests[-1].reference.vector.values) == [0.0, 1.0]
    capsys.readouterr()
    assert scot(service, "encode") == 1
    assert scot(service, "encode", "--text", "red", "--output", "v.txt") == 2
    assert capsys.readouterr().err.splitlines() == [
        "scot encode: give 1 to 64 of --image and --text, not 0",
        "scot encode: --output must end with .npy, not v.txt",
    ]


def test_status_prints_one_line_of_json(service: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert scot(service, "status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["address"] == service.address
    about = {"collection": "gallery", "items": 2, "encoder": "tiny@1", "dim": 2, "caption_weight": 0.0}
    assert found["collection"] == about
    assert [(each["name"], each["released"], each["metrics"]) for each in found["composers"]] == [
        ("v1", True, {"recall@1": 0.5})
    ]


def test_collections_list_prints_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ("--store", str(tmp_path / "qdrant"))
    assert main(["collections", "create", "gallery", "--caption-weight", "0.5", *store]) == 0
    capsys.readouterr()
    assert main(["collections", "list", "--json", *store]) == 0
    (found,) = json.loads(capsys.readouterr().out)["collections"]
    assert (found["collection"], found["aliases"], found["items"], found["state"]) == (
        "gallery-1",
        ["gallery"],
        0,
        "ready",
    )
    assert found["encoder"].startswith("tiny@")
    assert found["caption_weight"] == 0.5
    assert main(["collections", "list", *store]) == 0
    titles, row = capsys.readouterr().out.splitlines()
    assert row[titles.index("caption weight") :].startswith("0.5 ")
