"""``python -m services.search.local --data ./scot-data``."""

from __future__ import annotations

import sys

from scot import flags
from services.search.local.config import LocalConfig
from services.search.local.start import main

if __name__ == "__main__":
    sys.exit(flags.run("scot serve", main, LocalConfig))
