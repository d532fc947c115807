"""What pip-audit found in the sets of requirements: ``python requirements/audit_report.py FOLDER-OF-JSON``."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def report(folder: Path) -> tuple[int, str]:
    """The exit code and what to say: 0 nothing known, 1 vulnerabilities, 2 nobody could be asked."""
    vulnerable: dict[str, set[str]] = {}
    asked, unknown = set(), set()
    for file in sorted(folder.glob("*.json")):
        for package in json.loads(file.read_text(encoding="utf-8"))["dependencies"]:
            name = f"{package['name']} {package.get('version', '')}".strip()
            if "skip_reason" in package:
                unknown.add(name)
                continue
            asked.add(name)
            for found in package["vulns"]:
                fixed = ", ".join(found["fix_versions"]) or "no version yet"
                vulnerable.setdefault(f"{name}: {found['id']}, fixed in {fixed}", set()).add(file.stem)
    if not asked:
        return 2, "no advisory service could be reached, so nothing was audited"
    lines = [f"{found} ({', '.join(sorted(sets))})" for found, sets in sorted(vulnerable.items())]
    lines.append(f"{len(asked)} packages audited, {len(unknown)} unknown to the service, {len(vulnerable)} findings")
    return (1 if vulnerable else 0), "\n".join(lines)


if __name__ == "__main__":
    code, said = report(Path(sys.argv[1]))
    print(said)
    raise SystemExit(code)
