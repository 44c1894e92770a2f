# shellcheck shell=bash
# Sourced by the scripts that try the local gateway as a user would, on port 8000, which what they run names. Starts the
# gateway $1 on a fresh table, and stops it when the script ends. Gives $root, $gateway, $token (the demo user's) and
# the scratch folder $work. Needs curl and python3.

script=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { echo "$script: $*" >&2; }
die() { say "$@"; exit 1; }

[[ $# -eq 1 && -x $1 ]] || die "usage: tests/$script BINARY-OF-THE-GATEWAY"
gateway=http://localhost:8000

python3 - <<'PY' || die "port 8000 is taken, and what this runs names it"
import socket, sys
with socket.socket() as taken:
    sys.exit(taken.connect_ex(("127.0.0.1", 8000)) == 0)
PY

work=$(mktemp -d)
"$1" </dev/null >"$work/local.log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for ((tries = 0; ; tries++)); do
  curl --silent --fail --output /dev/null --max-time 5 "$gateway/openapi.json" && break
  if ((tries == 300)) || ! kill -0 "$server" 2>/dev/null; then
    say "the gateway did not start:"
    cat "$work/local.log" >&2
    exit 1
  fi
  sleep 0.1
done

token=$(curl --silent --fail "$gateway/dev/token?sub=user-demo" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])') || die "no token from /dev/token"
