#!/bin/sh
# Makes .venv what uv.lock says: needs only python3 and PyPI, and does nothing when uv.lock has not changed.
set -eu

cd "$(dirname "$0")/.."
stamp=.venv/.synced
if [ -e "$stamp" ] && cmp -s uv.lock "$stamp" && [ ! pyproject.toml -nt "$stamp" ]; then
    exit 0
fi

uv_home="${XDG_CACHE_HOME:-$HOME/.cache}/model-refresh/uv"
if [ ! -x "$uv_home/bin/uv" ]; then
    echo "venv: fetching uv into $uv_home"
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        # Debian splits venv's pip off; without it `python3 -m venv` makes a venv that can install nothing.
        apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv
    fi
    python3 -m venv "$uv_home"
    "$uv_home/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
fi

echo "venv: making .venv what uv.lock says"
# The machine's own Python: a managed one would come from GitHub, which a closed network does not reach.
UV_PYTHON_DOWNLOADS=never "$uv_home/bin/uv" sync --quiet --frozen --all-extras
cp uv.lock "$stamp"
