#!/usr/bin/env bash
# Watches the local gateway, on a fresh table, with a client that others wrote, while much is recorded, connections
# are cut, and what is told comes twice or dies half way:
#
#   tests/live-client.sh target/debug/local
#
# It runs the reference's own subscription, with nothing filled in but its ids, and the two examples of docs/live.md as
# they are. Needs port 8000 free, node and npm; what tests/clients/package.json names is installed in the target folder.
set -euo pipefail

gateway_args=(--unreliable 1)
# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"

install_clients

ROOT=$root GATEWAY=$gateway TOKEN=$token node "$clients/live.mjs" || {
  tail -n 20 "$work/local.log" >&2
  exit 1
}
