# shellcheck shell=bash
# Sourced by the scripts that try the local gateway as a user would, on port 8000, which what they run names. Starts the
# gateway $1 on a fresh table, with the arguments in gateway_args if there are any, and stops it when the script ends. Gives $gateway, $token (the demo user's), the
# scratch folder $work, and how to check and to count what passed and failed. Needs curl and python3.

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -eq 1 && -x $1 ]] || die "usage: tests/$script BINARY-OF-THE-GATEWAY"
gateway=http://localhost:8000

python3 - <<'PY' || die "port 8000 is taken, and what this runs names it"
import socket, sys
with socket.socket() as taken:
    sys.exit(taken.connect_ex(("127.0.0.1", 8000)) == 0)
PY

work=$(mktemp -d)
"$1" ${gateway_args[@]+"${gateway_args[@]}"} </dev/null >"$work/local.log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

await_server "the gateway" "$server" "$work/local.log" --fail "$gateway/openapi.json"

token=$(curl --silent --fail "$gateway/dev/token?sub=user-demo" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])') || die "no token from /dev/token"

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
    echo "FAIL $name; it printed:"
    cat "$work/printed"
  fi
}

# prints COMMAND... -- PATTERN...: the command succeeds, and what it prints has each pattern and no traceback.
prints() {
  local printed command=() missing=0
  while [[ $1 != -- ]]; do command+=("$1"); shift; done
  shift
  printed=$("${command[@]}" 2>&1) || { echo "exit status $?:"; missing=1; }
  echo "$printed"
  for pattern in "$@"; do
    grep -qE -- "$pattern" <<<"$printed" || { echo "nothing like /$pattern/"; missing=1; }
  done
  ((missing == 0)) && ! grep -q Traceback <<<"$printed"
}
