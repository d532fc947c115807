"""Composition networks: (reference, edit) to a query vector."""

from scot.composers.artifact import load_composer, save_composer
from scot.composers.base import Composer, LearnedComposer
from scot.composers.baselines import baseline, fitted_baseline, tuned_baselines
from scot.composers.native import NativeComposer, default_composer, native_composer, open_composer
from scot.composers.packaged import packaged_composers, packaged_for
from scot.composers.registry import Registry, composer_path

__all__ = [
    "Composer",
    "LearnedComposer",
    "NativeComposer",
    "Registry",
    "baseline",
    "composer_path",
    "default_composer",
    "fitted_baseline",
    "load_composer",
    "native_composer",
    "open_composer",
    "packaged_composers",
    "packaged_for",
    "save_composer",
    "tuned_baselines",
]
