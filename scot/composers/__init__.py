"""Composition networks: (reference, edit) to a query vector."""

from scot.composers.artifact import load_composer, save_composer
from scot.composers.base import Composer, LearnedComposer
from scot.composers.baselines import BASELINES, baseline
from scot.composers.registry import Registry

__all__ = ["BASELINES", "Composer", "LearnedComposer", "Registry", "baseline", "load_composer", "save_composer"]
