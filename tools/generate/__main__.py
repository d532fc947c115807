"""``python -m tools.generate`` (``make generate``) writes every generated file anew; a test compares them."""

from __future__ import annotations

from pathlib import Path

from tools.generate import chart_reference, dashboards, manifests, stubs

ROOT = Path(__file__).resolve().parents[2]
# Folders that hold generated files alone: the pattern of those files.
OWNED = ("scot/v1/*_pb2*.py*", "helm/dashboards/*.json", "k8s/*.yaml")


def files() -> dict[str, str]:
    """Path in the repository to text, of every generated file."""
    return stubs.files() | dashboards.files() | chart_reference.files() | manifests.files()


def stale(root: Path = ROOT) -> list[str]:
    """The committed files that are not what the generators write: changed, missing, or no longer generated."""
    fresh = files()
    written = {path: (root / path).read_bytes() for path in fresh if (root / path).is_file()}
    changed = [path for path, text in fresh.items() if written.get(path) != text.encode()]
    committed = {str(path.relative_to(root)) for pattern in OWNED for path in root.glob(pattern)}
    return sorted({*changed, *(committed - fresh.keys())})


def main() -> None:
    """Write what is stale and print its path; remove what is no longer generated."""
    fresh = files()
    for path in stale():
        if path in fresh:
            (ROOT / path).write_bytes(fresh[path].encode())
        else:
            (ROOT / path).unlink()
        print(path)


if __name__ == "__main__":
    main()
