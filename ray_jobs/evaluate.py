#!/usr/bin/env python
"""Evaluate composers on drawn galleries: recall tables, results.json, contact sheets.

python ray_jobs/evaluate.py --gallery data/wardrobe data/scenes --composers data/composers --output evaluation/
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.evaluation.run import EvaluateConfig, evaluate

if __name__ == "__main__":
    sys.exit(flags.run("evaluate.py", evaluate, EvaluateConfig))
