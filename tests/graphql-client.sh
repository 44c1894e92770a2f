#!/usr/bin/env bash
# Queries the local gateway with third-party GraphQL clients, on an empty table:
#
#   tests/graphql-client.sh target/debug/local
#
# It runs the examples of the reference, in tests/reference/, which change only in their ids, and the clients of
# docs/graphql.md with its cache configurations. It needs port 8000, node, npm and python3, and installs the packages of
# tests/clients/package.json and gql in the target folder.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"

install_clients
python=python3
if ! python3 -c 'import gql, aiohttp' 2>/dev/null; then
  python=$clients/venv/bin/python
  python3 -m venv "$clients/venv"
  "$python" -m pip install --quiet "$(grep '^gql' "$root/.ci/requirements.txt")"
fi

export ROOT=$root GATEWAY=$gateway TOKEN=$token
failed=0
node "$clients/graphql.mjs" || failed=1
node "$clients/stock.mjs" || failed=1
"$python" "$clients/aiohttp_client.py" || failed=1
exit "$failed"
