# shellcheck shell=bash
# Starts the gateway $1 on port 8000 with an empty table, for the scripts that use it as a user does, and stops it when
# the script ends. The port is fixed, because the examples name it. Scripts source this file, with further arguments of
# the gateway in gateway_args. It sets $gateway, the demo user's $token and the scratch folder $work, and has functions
# that check commands and count the results. Needs curl and python3.

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -eq 1 && -x $1 ]] || die "usage: tests/$script BINARY-OF-THE-GATEWAY"
gateway=http://localhost:8000

python3 - <<'PY' || die "port 8000 is in use, which the examples need"
import socket, sys
with socket.socket() as taken:
    sys.exit(taken.connect_ex(("127.0.0.1", 8000)) == 0)
PY

work=$(mktemp -d)
XDG_CACHE_HOME=$work/cache "$1" ${gateway_args[@]+"${gateway_args[@]}"} </dev/null >"$work/local.log" 2>&1 &
server=$!
stop_gateway() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
}
stop() {
  stop_gateway
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

await_server "the gateway" "$server" "$work/local.log" --fail "$gateway/openapi.json"

token=$(curl --silent --fail "$gateway/dev/token?sub=user-demo" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])') || die "the gateway issued no token"

passed=0 failed=0
# check NAME COMMAND...
check() {
  local name=$1
  shift
  if "$@" >"$work/printed" 2>&1 </dev/null; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name; its output:"
    cat "$work/printed"
  fi
}

# prints COMMAND... -- PATTERN...: asserts that a command succeeds, and prints each pattern and no traceback.
prints() {
  local printed command=() missing=0
  while [[ $1 != -- ]]; do command+=("$1"); shift; done
  shift
  printed=$("${command[@]}" 2>&1) || { echo "exit status $?:"; missing=1; }
  echo "$printed"
  for pattern in "$@"; do
    grep -qE -- "$pattern" <<<"$printed" || { echo "no match of /$pattern/"; missing=1; }
  done
  ((missing == 0)) && ! grep -q Traceback <<<"$printed"
}
