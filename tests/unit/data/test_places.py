"""Sources at URLs, on a real S3 server: read as the same files on a disk, and one sentence for what goes wrong."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scot.data import filesystems, remote_file
from scot.data.captioned import open_source, read_captioned
from scot.data.fingerprint import fingerprint
from scot.data.places import RemotePath, below, open_place
from scot.data.read_ahead import AT_ONCE, read_ahead
from scot.data.records import CaptionedImage, Refusals
from scot.errors import ImageRefused, InvalidInput, NotFound, PermissionDenied, ScotError, Unavailable
from tests.support.http_server import http_server
from tests.support.s3_server import DENIED, EXPIRED, SLOW_DOWN, Request, S3Server, Weather, impatient
from tests.support.saved_datasets import saved, saved_splits


@pytest.fixture
def bucket(request: pytest.FixtureRequest, s3: S3Server) -> str:
    """A bucket of the test's own."""
    name = "b" + str(abs(hash(request.node.name)))
    s3.files.mkdir(name)
    return f"s3://{name}"


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, 20, 30)).save(file, "PNG")
    return file.getvalue()


def tar(samples: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        for name, data in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            written.addfile(member, io.BytesIO(data))
    return file.getvalue()


def parquet(start: int) -> bytes:
    file = io.BytesIO()
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in range(start, start + 4)]
    captions = [f"a red car {number}" for number in range(start, start + 4)]
    pq.write_table(pa.table({"id": captions, "image": images, "text": captions}), file)
    return file.getvalue()


PICTURES = {f"im/{number}.png": png(number) for number in range(5)}
ROWS = [(f"im/{number}.png", f"a blue dog {number}, running") for number in range(5)]
TARS = {
    f"shard-{k:03d}.tar": tar({f"{k}{n}.{kind}": data for n in range(3) for kind, data in
                               (("png", png(n)), ("txt", b"a green cup"))})
    for k in range(3)
}  # fmt: skip
CSV = "image,caption,price\n" + "".join(f'{image},"{caption}",3\n' for image, caption in ROWS)
TSV = "image\tcaption\n" + "".join(f"{image}\t{caption}\n" for image, caption in ROWS)
JSONL = "".join(json.dumps({"file_name": image, "text": caption}) + "\n" for image, caption in ROWS)
ARROW_ROWS = [{"image": {"bytes": png(n), "path": image}, "text": text} for n, (image, text) in enumerate(ROWS)]
COCO = json.dumps(
    {
        "images": [{"id": n, "file_name": image.removeprefix("im/")} for n, (image, _) in enumerate(ROWS)],
        "annotations": [{"image_id": n, "caption": caption} for n, (_, caption) in enumerate(ROWS)],
    }
)
LAYOUTS: dict[str, tuple[dict[str, bytes], str]] = {
    "files": ({**PICTURES, **{f"im/{n}.txt": f"a cat {n}".encode() for n in range(4)}, "deep/er/x.png": png(9)}, ""),
    "csv": ({**PICTURES, "captions.csv": CSV.encode()}, ""),
    "a named tsv": ({**PICTURES, "list.tsv": TSV.encode()}, "/list.tsv"),
    "jsonl": ({**PICTURES, "metadata.jsonl": JSONL.encode()}, ""),
    "shards": (TARS, ""),
    "one shard": (TARS, "/shard-001.tar"),
    "braces": (TARS, "/shard-{000..002}.tar"),
    "a star": (TARS, "/shard-*.tar"),
    "a data set of Hugging Face": ({f"data/train-{k:05d}-of-00002.parquet": parquet(4 * k) for k in range(2)}, ""),
    "a data set saved to disk": (saved([ARROW_ROWS[:3], ARROW_ROWS[3:]]), ""),
    "its only split": (saved_splits({"train": [ARROW_ROWS]}), ""),
    "parts by a star": (
        {
            f"data/{split}-{k:05d}-of-00002.parquet": parquet(k)
            for split, k in [("train", 0), ("train", 4), ("test", 8)]
        },
        "/data/train-*.parquet",
    ),
    "coco": (
        {**{f"val/{n}.png": png(n) for n in range(5)}, "annotations/captions_val.json": COCO.encode()},
        "/annotations/captions_val.json",
    ),
}


def put(s3: S3Server, url: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        s3.put(f"{url}/{name}", data)


def records(source: str, refusals: Refusals | None = None, **options: str) -> list[tuple[object, ...]]:
    read = read_captioned(source, refusals or Refusals(), **options)
    return [(each.image_id, each.read(), each.captions, dict(each.payload)) for each in read]


@pytest.mark.parametrize(
    ("layout", "captions"), [*((layout, "required") for layout in LAYOUTS), ("files", "optional"), ("csv", "optional")]
)
def test_a_source_at_a_url_is_read_as_on_the_disk(
    layout: str, captions: str, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    files, name = LAYOUTS[layout]
    put(s3, f"{bucket}/set", files)
    for file, data in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    there, here = Refusals(), Refusals()
    assert records(f"{bucket}/set{name}", there, captions=captions) == records(
        f"{tmp_path}{name}", here, captions=captions
    )
    assert there.summary() == here.summary()
    assert fingerprint(f"{bucket}/set{name}") == fingerprint(f"{bucket}/set{name}")
    assert open_source(f"{bucket}/set/{name.strip('/')}", captions=captions).layout.startswith(
        open_source(f"{tmp_path}{name}", captions=captions).layout.split(";")[0]
    )


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server, which neither lists nor sends parts of a file."""
    folder = tmp_path_factory.mktemp("web")
    for name, data in {
        **TARS,
        **PICTURES,
        "list.csv": CSV.encode(),
        "part.parquet": _many_groups(range(2_000)),
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http_server(partial(handler, directory=str(folder))) as address:
        yield f"http://{address}"


def test_files_of_a_web_server_are_read(web: str) -> None:
    assert len(records(f"{web}/shard-{{000..002}}.tar")) == 9
    assert [row[0] for row in records(f"{web}/list.csv")] == [image for image, _ in ROWS]


def test_what_cannot_be_streamed_is_refused(web: str, s3: S3Server, bucket: str) -> None:
    s3.put(f"{bucket}/pictures.zip", b"PK")
    for source, why in {
        f"{web}/": "cannot be listed|is not a folder of images",
        f"{bucket}/pictures.zip": "pictures.zip' cannot be streamed: unpack it, or make .tar shards",
        f"zip::{bucket}/pictures.zip": "is a file system inside another, which cannot be streamed: unpack it",
        f"{web}/part.parquet": "part.parquet cannot be streamed: its server does not send parts of a file",
    }.items():
        with pytest.raises(InvalidInput, match=why):
            records(source)


def test_latency_is_waited_for_at_once(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, {f"{number:03d}.png": png(number) for number in range(100)})
    source = open_source(bucket, captions="optional")
    s3.weather = Weather(latency_s=0.02)
    assert (
        sum(1 for each in read_ahead(source.read(Refusals()), CaptionedImage.fetched) if isinstance(each.image, bytes))
        == 100
    )
    assert s3.weather.at_once > AT_ONCE / 2


def test_what_is_ahead_comes_in_order_and_fails_where_it_is() -> None:
    def fetch(number: int) -> int:
        if number == 70:
            raise InvalidInput("the 70th")
        return -number

    results = read_ahead(range(100), fetch)
    assert list(itertools.islice(results, 70)) == [-number for number in range(70)]
    with pytest.raises(InvalidInput, match="the 70th"):
        next(results)


def test_a_large_shard_is_read_in_blocks_one_ahead(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 2**16)
    samples = {f"{n:03d}.{kind}": data for n in range(300) for kind, data in (("png", png(n)), ("txt", b"a cup"))}
    s3.put(f"{bucket}/a.tar", tar(samples))
    read = read_captioned(f"{bucket}/a.tar", Refusals())
    next(read)
    begun = sum(request.reads for request in s3.weather.seen)
    assert begun <= 3, "the shard is streamed, not fetched first"
    assert 1 + sum(1 for _ in read) == 300
    assert sum(request.reads for request in s3.weather.seen) > 5


def test_throttling_that_ends_costs_nothing(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, TARS)
    numbers = itertools.count()
    s3.weather = Weather(refuse=lambda request: SLOW_DOWN if next(numbers) % 3 == 0 else None)
    refusals = Refusals()
    assert len(records(f"{bucket}/shard-{{000..002}}.tar", refusals)) == 9
    assert not refusals.total


def test_bodies_that_are_cut_short_are_read_again(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, {**PICTURES, "captions.csv": CSV.encode(), **TARS})
    numbers = itertools.count()
    s3.weather = Weather(cut=lambda request: request.reads and next(numbers) % 2 == 0)
    assert len(records(f"{bucket}/captions.csv")) == 5
    refusals = Refusals()
    assert len(records(f"{bucket}/shard-000.tar", refusals)) == 3
    assert not refusals.total


@pytest.fixture
def few_retries(s3: S3Server) -> Iterator[None]:
    with impatient():
        yield


@pytest.mark.parametrize(
    ("weather", "kind", "why"),
    [
        ({"refuse": lambda request: SLOW_DOWN}, Unavailable, "the store throttles and went on doing so; run it again"),
        ({"refuse": lambda request: EXPIRED}, PermissionDenied, "the credentials have expired; log in again"),
        ({"cut": lambda request: request.reads}, Unavailable, "broke off in the midst of a file"),
    ],
)
@pytest.mark.usefixtures("few_retries")
def test_a_store_that_does_not_recover_ends_the_reading(
    weather: dict[str, Callable[[Request], object]], kind: type[ScotError], why: str, s3: S3Server, bucket: str
) -> None:
    put(s3, bucket, {**PICTURES, "captions.csv": CSV.encode(), **TARS})
    sources = [open_source(f"{bucket}/captions.csv"), open_source(f"{bucket}/shard-{{000..002}}.tar")]
    records = list(sources[0].read(Refusals()))
    s3.weather = Weather(**weather)
    for source in sources:
        refusals = Refusals()
        with pytest.raises(kind, match=why):
            list(source.read(refusals))
        assert not refusals.total, "no shard and no row is left out for it"
    with pytest.raises(kind, match=why):
        records[0].read()


@pytest.mark.usefixtures("few_retries")
def test_credentials_that_are_missing_or_unknown(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.weather = Weather(refuse=lambda request: (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided …"))
    with pytest.raises(PermissionDenied, match="the store does not know these credentials"):
        open_source(bucket)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    filesystems._filesystem.cache_clear()
    with pytest.raises(PermissionDenied, match="there are no credentials"):
        open_source(bucket)


def test_a_bucket_that_must_not_be_listed(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, {**PICTURES, "captions.csv": CSV.encode(), **TARS})

    def denied(request: Request) -> tuple[int, str, str] | None:
        return DENIED if request.lists or (request.method == "HEAD" and "nothing" in request.target) else None

    s3.weather = Weather(refuse=denied)
    with pytest.raises(PermissionDenied, match="do not allow listing"):
        open_source(bucket)
    with pytest.raises(PermissionDenied, match="no such file and the credentials do not allow listing"):
        open_source(f"{bucket}/nothing.tar")
    assert len(records(f"{bucket}/shard-{{000..002}}.tar")) == 9
    assert len(records(f"{bucket}/captions.csv")) == 5


def test_a_thousand_empty_objects_are_not_asked_for(s3: S3Server, bucket: str) -> None:
    s3.put_empty(bucket.removeprefix("s3://"), (f"pictures/{number:04d}.jpg" for number in range(1_000)))
    s3.weather = Weather()
    with pytest.raises(
        InvalidInput, match=r"has none of them; 1,000 refused: 1,000 empty \(0000\.jpg, 0001\.jpg, 0002"
    ):
        open_source(f"{bucket}/pictures", captions="optional")
    assert not any(request.reads for request in s3.weather.seen)
    s3.put(f"{bucket}/pictures/1000.png", png(1))
    refusals = Refusals()
    assert len(records(f"{bucket}/pictures", refusals, captions="optional")) == 1
    assert refusals.counts == {"empty": 1_000}


@pytest.mark.parametrize(
    ("kind", "change"),
    [("tar", "other"), ("tar", "gone"), ("csv", "shorter"), ("jsonl", "other"), ("parquet", "other")],
)
def test_a_shard_that_changes_while_it_is_read(
    kind: str, change: str, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 2**14)
    many = range(1_000)
    data = {
        "tar": tar({f"{n:04d}.{kind}": each for n in many for kind, each in (("png", png(n)), ("txt", b"a cup"))}),
        "csv": ("image,caption\n" + "".join(f"{n}.png,a blue cup\n" for n in many)).encode(),
        "jsonl": "".join(f'{{"image": "{n}.png", "caption": "a blue cup"}}\n' for n in many).encode(),
        "parquet": parquet(0) if kind != "parquet" else _many_groups(many),
    }[kind]
    s3.put(f"{bucket}/a.{kind}", data)
    source = open_source(f"{bucket}/a.{kind}", captions="optional")
    read = source.read(Refusals())
    if kind in ("tar", "parquet"):
        next(read)
    else:  # the rows of one image are looked for first: change the file when the second pass has begun
        list(itertools.islice(read, 10))
    if change == "gone":
        s3.files.rm_file(f"{bucket}/a.{kind}")
    else:
        s3.put(f"{bucket}/a.{kind}", data[: len(data) // 2] if change == "shorter" else data[:-1] + b"\1")
    with pytest.raises(InvalidInput, match=rf"a\.{kind} changed while it was read: wait until its writer has finished"):
        list(read)


def _many_groups(many: range) -> bytes:
    file = io.BytesIO()
    table = pa.table({"id": list(map(str, many)), "image": [png(n) for n in many], "text": ["a cup"] * len(many)})
    pq.write_table(table, file, row_group_size=64)
    return file.getvalue()


def test_a_local_shard_that_is_written_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(TARS["shard-000.tar"])
    read = read_captioned(str(file), Refusals())
    next(read)
    with file.open("ab") as more:
        more.write(b"\0" * 512)
    with pytest.raises(InvalidInput, match=r"a\.tar changed while it was read"):
        list(read)


def test_a_half_written_shard_is_counted_and_the_next_is_read(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, {**TARS, "shard-001.tar": TARS["shard-001.tar"][:3_000]})
    refusals = Refusals()
    assert len(records(f"{bucket}/shard-{{000..002}}.tar", refusals)) == 7
    assert refusals.counts == {"broken_shard": 1}
    s3.put(f"{bucket}/part.parquet", parquet(0)[:-20])
    with pytest.raises(InvalidInput, match=r"part\.parquet is not a readable Parquet file"):
        open_source(f"{bucket}/part.parquet")


def test_an_image_that_is_gone_or_replaced_since_it_was_listed(s3: S3Server, bucket: str) -> None:
    put(s3, bucket, PICTURES)
    first, second, *_ = read_captioned(bucket, Refusals(), captions="optional")
    s3.put(f"{bucket}/im/0.png", png(0) + b"more")
    s3.files.rm_file(f"{bucket}/im/1.png")
    with pytest.raises(InvalidInput, match=r"im/0\.png changed while it was read"):
        first.read()
    with pytest.raises(ImageRefused, match=r"there is no image file '1\.png'"):
        second.read()


def test_fingerprints_follow_the_files(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, TARS)
    pattern = f"{bucket}/shard-{{000..002}}.tar"
    before = [fingerprint(bucket), fingerprint(pattern), fingerprint(f"{bucket}/shard-002.tar")]
    s3.put(f"{bucket}/shard-002.tar", TARS["shard-001.tar"])
    after = [fingerprint(bucket), fingerprint(pattern), fingerprint(f"{bucket}/shard-002.tar")]
    assert not set(before) & set(after)
    for name, data in TARS.items():
        (tmp_path / name).write_bytes(data)
    local = f"{tmp_path}/shard-{{000..002}}.tar"
    before = [fingerprint(local)]
    (tmp_path / "shard-002.tar").write_bytes(TARS["shard-001.tar"] + b"\0" * 512)
    assert fingerprint(local) != before[0]


def test_places_that_there_are_not(s3: S3Server, bucket: str) -> None:
    for source, why in {
        f"{bucket}/nothing": "there is nothing at",
        "s3://no-such-bucket/x": "there is nothing at",
        f"{bucket}/shard-{{0..3}}.tar": r"4 of the 4 shards of .* do not exist, first shard-0\.tar",
        f"{bucket}/shard-*.tar": "there is nothing like",
    }.items():
        with pytest.raises(NotFound, match=why):
            open_source(source)
    with pytest.raises(InvalidInput, match="there is no file system nowhere://"):
        open_source("nowhere://bucket/x")


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    filesystems._filesystem.cache_clear()
    monkeypatch.setattr(fsspec, "filesystem", missing)
    for url, extra in {
        "s3://b/x": "s3",
        "gs://b/x": "gcs",
        "hf://datasets/o/n": "hf",
        "https://h/x.tar": "http",
    }.items():
        with pytest.raises(InvalidInput, match=rf"pip install 'scot-search\[{extra}\]'"):
            open_place(url)
    filesystems._filesystem.cache_clear()


def test_paths_of_urls() -> None:
    place = open_place("s3://bucket/a/b.tar")
    assert isinstance(place, RemotePath)
    assert (place.name, place.stem, place.suffix, str(place.parent)) == ("b.tar", "b", ".tar", "s3://bucket/a")
    assert str(place.parent.parent.parent) == "s3://bucket"
    assert str(place.parent / "c/d.png") == "s3://bucket/a/c/d.png"
    assert below(place, open_place("s3://bucket")) == "a/b.tar" == below(Path("/x/a/b.tar"), Path("/x"))
    assert open_place("file:///a/b") == open_place("/a/b") == Path("/a/b")
