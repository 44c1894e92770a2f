#!/usr/bin/env bash
# Runs the examples of README.md and docs/*.md as they are pasted, against the local gateway on a fresh table, and checks
# the Markdown files themselves:
#
#   tests/docs.sh target/debug/local
#
# It runs every block of shell and Python, each file's in order, and compares what a block prints with the block of JSON
# or text that follows it at once. There, `…` stands for anything, a time for any time, and white space does not count. A
# word after `sh` says why a block is not run here:
#
#   ```sh aws       needs a stack in AWS
#   ```sh docker    needs Docker
#   ```sh build     compiles, or starts a gateway
#
# A block with the word `gateway` starts a gateway on a port of its own, which runs until the end of its page.
#
# tests/producers.sh runs the section "From services in AWS" of docs/recording.md, tests/live-client.sh the blocks of
# JavaScript and HTML in docs/live.md, and tests/graphql-client.sh those in docs/graphql.md. The examples name the ports 8000
# and 8001, so these have to be free. Needs curl and jq, and python3
# with httpx, which is installed in the target folder when missing.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"
local=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

command -v jq >/dev/null || die "needs jq"
if ! python3 -c 'import httpx' 2>/dev/null; then
  venv=${CARGO_TARGET_DIR:-$root/target}/venv
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "$(grep '^httpx==' "$root/.ci/requirements.txt")"
  PATH=$(cd "$venv" && pwd)/bin:$PATH
fi

# The gateway's file that the guide verifies.
mkdir "$work/here" "$work/bin"
: >"$work/file.log"
"$local" --port 0 --db-path "$work/here/log.db" </dev/null >"$work/file.log" 2>&1 &
file_server=$!
for ((tries = 0; tries < 300; tries++)); do
  ! grep -q '^Activity Log' "$work/file.log" || break
  kill -0 "$file_server" 2>/dev/null || break
  sleep 0.1
done
kill "$file_server" 2>/dev/null || true
wait "$file_server" || die "no gateway made a file: $(cat "$work/file.log")"

# The guides run the gateway with cargo; here it is built already.
cat >"$work/bin/cargo" <<SH
#!/usr/bin/env bash
[[ "\$*" == "run -p local -- "* ]] || { echo "there is no cargo here for: \$*" >&2; exit 1; }
exec "$local" "\${@:5}"
SH
chmod +x "$work/bin/cargo"

PATH=$work/bin:$PATH python3 "$root/tests/docs.py" "$root" "$work/here" "$work/counts" || die "the examples were not run to the end"
read -r passed failed <"$work/counts"
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
