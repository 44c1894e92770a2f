#!/usr/bin/env bash
# Queries the local gateway with a third-party GraphQL client, on an empty table:
#
#   tests/graphql-client.sh target/debug/local
#
# It runs the examples of the reference, in tests/reference/, which change only in their ids. It needs port 8000, node
# and npm, and installs the packages of tests/clients/package.json in the target folder.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"

install_clients
ROOT=$root GATEWAY=$gateway TOKEN=$token node "$clients/graphql.mjs"
