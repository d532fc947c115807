"""What the processes of a service import before they answer: libraries that take seconds and are not used stay out."""

from __future__ import annotations

import subprocess
import sys


def test_a_service_with_the_embedded_store_does_not_import_the_client_of_the_server() -> None:
    script = (
        "import sys; import services.search.local.start, services.search.app\n"
        "print(*{'qdrant_client', 'open_clip', 'torchvision', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
