"""``scot composers push`` and ``pull``: composers to and from URLs and the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from scot.composers import Registry, composer_path, exchange
from scot.encoders import load_encoder
from scot.results import print_outcome


@dataclass(frozen=True)
class PushConfig:
    """Copy a version with its card to a URL, so that others can pull it.

    Example: scot composers push v3 hf://my-org/fashion-vit-b-32 --composers scot-data/composers
    """

    version: tyro.conf.Positional[str]
    """A version of the registry."""
    url: tyro.conf.Positional[str]
    """hf://ORG/REPO, or the folder to make: s3://…, gs://…, file://… or any URL that fsspec opens."""
    composers: str = "composers"
    """The registry: a folder or a URL."""
    private: bool = False
    """Make a new repository of the hub private."""
    json: bool = False
    """Print one line of JSON."""


@dataclass(frozen=True)
class PullConfig:
    """Check a composer at a URL and publish it in a registry.

    Example: scot composers pull hf://my-org/fashion-vit-b-32 --encoder ViT-B-32/openai --composers scot-data/composers
    """

    url: tyro.conf.Positional[str]
    """hf://ORG/REPO[@REVISION], or the folder of an artifact: s3://…, gs://…, file://… or any URL that fsspec opens."""
    composers: str = "composers"
    """The registry: a folder or a URL."""
    version: str = ""
    """The name of the version; by default the next of v1, v2, …"""
    encoder: str = ""
    """The encoder that it must be of; by default that of the registry's released composer, if there is one."""
    release: bool = False
    """Make it the released version."""
    json: bool = False
    """Print one line of JSON."""


def push(config: PushConfig) -> int:
    """Copy a version to a URL.

    Raises:
        NotFound, InvalidInput: there is no such version or kind of URL.
        Conflict: the URL holds a composer already.
        PermissionDenied, Unavailable: it cannot be written.
    """
    exchange.push(composer_path(config.version, Registry(config.composers)), config.url, private=config.private)
    values = {"version": config.version, "url": config.url}
    print_outcome(config.json, values, f"pushed {config.version} to {config.url}")
    return 0


def pull(config: PullConfig) -> int:
    """Publish the composer of a URL.

    Raises:
        NotFound: there is none.
        EncoderMismatch, InvalidInput: it is of another encoder, or damaged.
        Conflict: the version already exists.
        PermissionDenied, Unavailable: it cannot be read, or the registry cannot be written.
    """
    registry = Registry(config.composers)
    encoder_id = load_encoder(config.encoder, device="cpu").id if config.encoder else None
    version = exchange.pull(
        config.url, registry, version=config.version or None, encoder_id=encoder_id, release=config.release
    )
    encoder, released = registry.config(version)["encoder_id"], registry.released() == version
    state = "released" if released else f"not released; `scot composers promote {version}` measures and releases it"
    print_outcome(
        config.json,
        {"version": version, "encoder": encoder, "released": released},
        f"pulled {config.url} as {version} of {config.composers} for the encoder {encoder} ({state})",
    )
    return 0
