"""What every test needs before the first import: Ray without tokens or telemetry, and no model hub."""

from __future__ import annotations

import os

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
# A developer's own settings must not change what the tests see: every flag reads SCOT_… (scot/flags.py).
for name in [name for name in os.environ if name.startswith("SCOT_") and not name.startswith("SCOT_TEST_")]:
    del os.environ[name]
