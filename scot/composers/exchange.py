"""Composers on the way from one person to another: to and from a URL that fsspec opens, or the Hugging Face hub.

A URL names one artifact's folder: ``file:///shared/fashion``, ``s3://bucket/composers/fashion``, ``hf://ORG/REPO`` with
``@REVISION`` if it is not the newest. What arrives is checked before it is published: complete, the weights those of
the recorded hash, safetensors and nothing else, of a known architecture.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scot.composers import artifact
from scot.composers.registry import Registry
from scot.data.remote_errors import reaching
from scot.data.storage import Folder
from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, PermissionDenied, Unavailable, first_line

_HUB = "hf://"
_REPO = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?")
_UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")


def push(folder: str | Path, url: str, *, private: bool = False) -> None:
    """Copy an artifact to a URL that holds none yet; its ``config.json`` comes last, so that it appears whole.

    Args:
        folder: the artifact, a folder or a URL.
        url: where to; see above.
        private: make a new repository of the hub private.

    Raises:
        NotFound, InvalidInput: the artifact is missing or damaged, or there is no such kind of URL.
        Conflict: the URL holds a composer already.
        PermissionDenied, Unavailable: it cannot be written.
    """
    artifact.verify(folder)
    source = Folder(folder)
    files = {name: source.read(name) for name in artifact.FILES if source.exists(name)}
    card = files.get(artifact.CARD, b"")
    if not card.startswith(b"---\n"):  # artifacts of earlier versions
        files[artifact.CARD] = artifact.front_matter(artifact.read_config(folder)).encode() + card
    place = _place(url)
    if place.holds(artifact.CONFIG):
        raise Conflict(f"{url} holds a composer already, and one is never changed: choose another name")
    place.write(files, private=private)


def pull(
    url: str, registry: Registry, *, version: str | None = None, encoder_id: str | None = None, release: bool = False
) -> str:
    """Publish the artifact of a URL in a registry; the version.

    Args:
        url: where from; see above.
        registry: the registry.
        version: the version's name; by default the next of v1, v2, …
        encoder_id: the encoder it must be of; by default that of the registry's released composer, if there is one.
        release: release it.

    Raises:
        NotFound: the URL holds no composer.
        EncoderMismatch: it is of another encoder.
        InvalidInput: it is damaged, it has its weights as a pickle, or there is no such kind of URL.
        Conflict: the version already exists.
        PermissionDenied, Unavailable: it cannot be read, or the registry cannot be written.
    """
    place = _place(url)
    if not place.holds(artifact.CONFIG):
        raise NotFound(f"{url} holds no composer: it has no {artifact.CONFIG}")
    unsafe = [name for name in place.names() if name.endswith(_UNSAFE)]
    if unsafe and not place.holds(artifact.WEIGHTS):
        raise InvalidInput(f"{url} has its weights in {unsafe[0]}, which can run code: only safetensors are read")
    if encoder_id is None and (released := registry.released()) is not None:
        encoder_id = str(registry.config(released)["encoder_id"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / (url.rstrip("/").rpartition("/")[2] or "composer")
        folder.mkdir()
        for name in artifact.FILES:
            if place.holds(name):
                (folder / name).write_bytes(place.read(name))
        config = artifact.read_config(folder)
        if encoder_id is not None and config["encoder_id"] != encoder_id:
            raise EncoderMismatch(f"{url} was trained on the encoder {config['encoder_id']}, not {encoder_id}")
        artifact.load_composer(folder, encoder_id=config["encoder_id"], dim=config["dim"])  # weights fit the settings
        return registry.publish(folder, version, release=release)


@dataclass(frozen=True, slots=True)
class _Url:
    """An artifact's folder at a URL that fsspec opens."""

    url: str
    folder: Folder

    def holds(self, name: str) -> bool:
        with reaching(self.url):
            return self.folder.exists(name)

    def names(self) -> list[str]:
        with reaching(self.url, done="listed"):
            return self.folder.names()

    def read(self, name: str) -> bytes:
        with reaching(self.url):
            return self.folder.read(name)

    def write(self, files: Mapping[str, bytes], *, private: bool) -> None:
        for name in sorted(files, key=lambda name: name == artifact.CONFIG):
            with reaching(self.url, done="written"):
                self.folder.write(name, files[name])


@dataclass(frozen=True, slots=True)
class _Hub:
    """A model repository of the Hugging Face hub, or of the server that HF_ENDPOINT names."""

    url: str
    repo: str
    revision: str | None
    api: Any

    def holds(self, name: str) -> bool:
        return name in self.names()

    def names(self) -> list[str]:
        names: list[str] = self._try(lambda: self.api.list_repo_files(self.repo, revision=self.revision), absent=[])
        return names

    def read(self, name: str) -> bytes:
        path: str = self._try(lambda: self.api.hf_hub_download(self.repo, name, revision=self.revision))
        return Path(path).read_bytes()

    def write(self, files: Mapping[str, bytes], *, private: bool) -> None:
        from huggingface_hub import CommitOperationAdd

        added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        self._try(lambda: self.api.create_repo(self.repo, private=private, exist_ok=True))
        self._try(lambda: self.api.create_commit(self.repo, added, commit_message="Add a SCOT composer"))

    def _try(self, call: Any, absent: Any = None) -> Any:
        from huggingface_hub import errors

        try:
            return call()
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
            if absent is not None:
                return absent
            raise NotFound(
                f"the hub has no {self.url}, or does not show it to you: log in with `hf auth login`"
            ) from None
        except (errors.LocalTokenNotFoundError, errors.HfHubHTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 401)
            if status in (401, 403):
                raise PermissionDenied(f"the hub refuses {self.url}: log in with `hf auth login`") from None
            raise Unavailable(f"the hub answers {status} for {self.url}") from error
        except Exception as error:
            raise Unavailable(f"the hub cannot be reached for {self.url}: {first_line(error)}") from error


def _place(url: str) -> _Url | _Hub:
    """What a URL names. Raises InvalidInput when there is no such kind of URL."""
    if url.startswith(_HUB):
        found = _REPO.fullmatch(url.removeprefix(_HUB))
        if found is None:
            raise InvalidInput(f"{url} is not hf://ORG/REPO or hf://ORG/REPO@REVISION")
        from huggingface_hub import HfApi

        return _Hub(url, found[1], found[2], HfApi())
    return _Url(url, Folder(url))
