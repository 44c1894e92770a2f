#!/usr/bin/env bash
# Sends every sample event to the built functions. AWS's Lambda runtime interface emulator runs each function, so that
# this also tests the binary, its start and the Lambda protocol:
#
#   tests/dynamodb-local.sh tests/emulator.sh target/debug
#
# The folder holds the binaries of the functions and of the gateway, `local`. The gateway makes the tables, records the
# demo workspace and issues the tokens. Each sample's expected outcome is part of its file name,
# events/<function>/<name>.<outcome>.json:
#   a number   an HTTP response with that status
#   ok         the result of a direct invocation
#   error      a failed invocation
#   a-code     a GraphQL response with an error of that code
#   a-type     the last message to a connection after a message from it; also `closed` and `nothing`
#   failed-N   the response to a batch, with N messages or records reported as failed
# The samples are sent in the order of their names. The emulator is part of the Python package aws-sam-cli.
set -euo pipefail

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -eq 1 && -d $1 ]] || die "usage: tests/emulator.sh FOLDER-OF-BINARIES"
bins=$(cd "$1" && pwd)
[[ -n ${DYNAMODB_ENDPOINT:-} ]] || die "needs DYNAMODB_ENDPOINT; run this with tests/dynamodb-local.sh"

# AWS_LAMBDA_RIE names another emulator than the one of aws-sam-cli.
rie=${AWS_LAMBDA_RIE:-$(python3 - <<'PY'
import importlib.util, platform
spec = importlib.util.find_spec("samcli")
arch = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
if spec:
    print(f"{spec.submodule_search_locations[0]}/local/rapid/aws-lambda-rie-{arch}")
PY
)}
[[ -x $rie ]] || die "needs the Lambda emulator: pip install aws-sam-cli, for the python3 on the path"

work=$(mktemp -d)
running= gateway=
# stop PID
stop() {
  [[ -z $1 ]] && return
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
finish() {
  stop "$running"
  stop "$gateway"
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The gateway responds once it has recorded the demo workspace, which the samples read.
port=$(free_port)
issuer=http://localhost:$port
"$bins/local" --dynamodb-endpoint "$DYNAMODB_ENDPOINT" --port "$port" </dev/null >"$work/local.log" 2>&1 &
gateway=$!
await_server "the gateway" "$gateway" "$work/local.log" --fail "$issuer/openapi.json"
token=$(curl --silent --fail "$issuer/dev/token?sub=user-demo" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])') || die "the gateway issued no token"

passed=0 failed=0
for folder in "$root"/events/*/; do
  function=$(basename "$folder")
  # The functions that record are one program; the template says which way in each serves.
  binary=$function source= directory= sources= forwarding=
  case $function in
    record-http) source=http ;;
    record-queue) source=queue directory=AROAEXAMPLEACCOUNTS00 ;;
    record-bus) source=event_bus directory=123456789012/com.example.accounts ;;
    record-retry)
      source=retry directory=AROAEXAMPLEACCOUNTS00 sources=123456789012/com.example.accounts
      forwarding=AROAEXAMPLERECORDER00,AROAEXAMPLEOPERATOR00
      ;;
    record-invoke) source=invoke ;;
    record-directory) source=invoke directory='*' ;;
  esac
  [[ -z $source ]] || binary=record-activity
  [[ -x $bins/$binary ]] || die "no binary $binary in $bins"
  port=$(free_port) api=$(free_port)
  # The environment is as bare as Lambda's, so that a function that needs anything else fails.
  env -i PATH=/usr/bin:/bin \
    AWS_ENDPOINT_URL_DYNAMODB="$DYNAMODB_ENDPOINT" LOG_TABLE=activity-log \
    CONNECTIONS_TABLE="activity-log-connections-${issuer##*:}" CONNECTIONS_ENDPOINT="http://127.0.0.1:$api/live" \
    JWT_ISSUER="$issuer" JWT_AUDIENCE=another,activity-log \
    RECORD_SOURCE="$source" DIRECTORY_PRINCIPALS="$directory" DIRECTORY_SOURCES="$sources" \
    FORWARDING_PRINCIPALS="$forwarding" \
    AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 \
    AWS_LAMBDA_FUNCTION_NAME="$function" AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256 AWS_LAMBDA_FUNCTION_TIMEOUT=28 \
    AWS_LAMBDA_LOG_FORMAT=JSON AWS_LAMBDA_LOG_LEVEL=TRACE LOG_LEVEL=INFO \
    "$rie" --runtime-interface-emulator-address "127.0.0.1:$port" --runtime-api-address "127.0.0.1:$(free_port)" \
    "$bins/$binary" </dev/null >"$work/$function.log" 2>&1 &
  running=$!
  python3 "$root/tests/emulator.py" "http://127.0.0.1:$port" "$folder" "$work/counts" "$token" "$api"
  stop "$running"
  running=
  read -r ok bad <"$work/counts"
  passed=$((passed + ok)) failed=$((failed + bad))
  if ((bad)); then
    say "the end of the log of $function:"
    tail -n 40 "$work/$function.log" >&2
  fi
done

echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
