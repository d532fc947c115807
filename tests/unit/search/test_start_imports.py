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


def test_the_service_imports_serve_without_pandas_and_everything_else_finds_it() -> None:
    script = (
        "import sys; from services.search.local.ray_runtime import import_application; import_application()\n"
        "print('ray.serve' in sys.modules, 'pandas' in sys.modules)\n"
        "import pandas; print(pandas.DataFrame({'a': [1]}).a.sum())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "1"]
