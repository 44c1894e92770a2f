#!/usr/bin/env bash
# Deploys the template with the built functions to an emulator of AWS, ministack, and uses the stack as its users do:
#
#   tests/deploy.sh .aws-sam/build target/debug/local
#
# The folder is one that `sam build` made for this machine. deploy.py creates a stack, records over HTTP, queue, bus and
# invocations, reads back, and subscribes, as smoke.py does on a real stack. Then come a second environment, an update and a
# delete; the gateway's program verifies each log. deploy_template.py says what the emulator needs otherwise, and
# docs/operating.md what it cannot show. Needs what .ci/requirements.txt lists, in the environment of the python3 on the
# path.
set -euo pipefail

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -eq 2 && -f $1/template.yaml && -x $2 ]] || die "usage: tests/deploy.sh FOLDER-OF-SAM-BUILD GATEWAY"
build=$(cd "$1" && pwd) local=$2
python3 -c 'import ministack, samcli, wsproto, cryptography' || die "needs: pip install -r .ci/requirements.txt"

# Nothing of this machine may reach the CLI or the functions.
for name in $(compgen -e AWS_ || true); do unset "$name"; done
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true SAM_CLI_TELEMETRY=0
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1

work=$(mktemp -d)
emulator=
finish() {
  if [[ -n $emulator ]]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port=$(free_port)
# Functions inherit the endpoint. The emulator keeps everything below TMPDIR.
export AWS_ENDPOINT_URL=http://localhost:$port TMPDIR=$work
GATEWAY_PORT=$port BIND_HOST=127.0.0.1 IOT_MTLS_ENABLED=0 python3 -m ministack </dev/null >"$work/ministack.log" 2>&1 &
emulator=$!
await_server "ministack" "$emulator" "$work/ministack.log" --fail "$AWS_ENDPOINT_URL/_ministack/health"

if ! python3 "$root/tests/deploy.py" "$build" "$local" "$AWS_ENDPOINT_URL" "$work"; then
  say "the end of the log of ministack:"
  tail -n 60 "$work/ministack.log" >&2
  exit 1
fi
