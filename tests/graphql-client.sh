#!/usr/bin/env bash
# Talks GraphQL to the local gateway, on a fresh table, with a client that others wrote:
#
#   tests/graphql-client.sh target/debug/local
#
# It runs the reference's own examples, kept in tests/reference/, with nothing filled in but their ids. Needs port 8000
# free, node and npm; what tests/clients/package.json names is installed in the target folder.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"

install_clients
ROOT=$root GATEWAY=$gateway TOKEN=$token node "$clients/graphql.mjs"
