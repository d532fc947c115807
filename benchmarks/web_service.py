"""The search service behind benchmarks/web.py: the packaged encoder without Ray, until Ctrl-C.

python benchmarks/web_service.py FOLDER --port 9000
"""

from __future__ import annotations

import signal
import sys

from scot.bundled import code_root

if __name__ == "__main__":
    sys.path.insert(0, str(code_root()))
    from services.search.settings import from_args
    from tests.support.served_here import served_here

    folder, _, port = sys.argv[1:]
    settings = {"encoder": "tiny", "threads": 1, "store": f"{folder}/qdrant", "thumbnails": f"{folder}/thumbnails"}
    signal.signal(signal.SIGINT, lambda *_: None)
    with served_here(from_args(settings), port=int(port)) as address:
        print(address, flush=True)
        signal.pause()
