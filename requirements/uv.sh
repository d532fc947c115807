# Sourced: sets $uv to the installer, which pip brings to a private place (.venv-uv) where the machine has none.
# A pip that was told of another index or of wheel folders passes that on; uv reads only its own settings.

: "${PYTHON:=python3}"

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "SCOT needs Python 3.11 or newer; '$PYTHON' is not. Name another: make PYTHON=python3.12 ..." >&2
  exit 1
fi

pip_setting() { "$PYTHON" -m pip config get "$1" 2>/dev/null || true; }

find_uv() {
  uv=$(command -v uv || true)
  if [ -n "$uv" ]; then return; fi
  uv=$PWD/.venv-uv/bin/uv
  if [ ! -x "$uv" ]; then
    echo "installing uv into .venv-uv"
    if "$PYTHON" -m pip --version >/dev/null 2>&1; then
      # --target works without the venv module and where the system forbids installing beside it.
      "$PYTHON" -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --target .venv-uv uv
    else
      "$PYTHON" -m venv .venv-uv && .venv-uv/bin/python -m pip install --quiet --root-user-action=ignore --disable-pip-version-check uv
    fi
  fi
  if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    index=${PIP_INDEX_URL:-$(pip_setting global.index-url)}
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX=$index; fi
  fi
  if [ -z "${UV_FIND_LINKS:-}" ]; then
    links=${PIP_FIND_LINKS:-$(pip_setting global.find-links)}
    if [ -n "$links" ]; then export UV_FIND_LINKS=$links; fi
  fi
}

find_uv
