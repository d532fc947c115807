"""``python -m services.web``, which is ``scot web``."""

import sys

from scot import flags
from services.web.config import WebConfig
from services.web.server import main

sys.exit(flags.run("scot web", main, WebConfig))
