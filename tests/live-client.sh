#!/usr/bin/env bash
# Subscribes to the local gateway with a third-party client, on an empty table. Meanwhile, many activities are recorded,
# connections are cut, and broadcasts are repeated or killed:
#
#   tests/live-client.sh target/debug/local
#
# It runs the subscription of the reference, which changes only in its ids, and the two examples of docs/live.md
# unchanged; these also under a gateway that is started again and has lost its log. It needs port 8000, node and npm, and
# installs the packages of tests/clients/package.json in the target folder.
set -euo pipefail

gateway_args=(--unreliable 1)
# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"

install_clients

ROOT=$root GATEWAY=$gateway TOKEN=$token node "$clients/live.mjs" || {
  tail -n 20 "$work/local.log" >&2
  exit 1
}

stop_gateway
ROOT=$root GATEWAY=$gateway BINARY=$1 XDG_CACHE_HOME=$work/cache node "$clients/restart.mjs"
