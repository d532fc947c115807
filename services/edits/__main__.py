"""``python -m services.edits``, which is ``scot edits serve``."""

import sys

from scot import flags
from services.edits.config import EditServiceConfig
from services.edits.server import main

sys.exit(flags.run("scot edits serve", main, EditServiceConfig))
