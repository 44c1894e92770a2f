# shellcheck shell=bash
# Functions of the scripts that start a server. They source this file, which also sets $root.

script=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { echo "$script: $*" >&2; }
die() { say "$@"; exit 1; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# await_server NAME PID LOG CURL-ARGUMENTS...: waits for the server's first response, at most 30 s.
await_server() {
  local name=$1 pid=$2 log=$3
  shift 3
  for ((tries = 0; ; tries++)); do
    curl --silent --output /dev/null --max-time 5 "$@" && return
    if ((tries == 300)) || ! kill -0 "$pid" 2>/dev/null; then
      say "$name did not start:"
      cat "$log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# Installs the third-party clients in $clients, and copies the scripts that use them there. Needs node and npm.
install_clients() {
  command -v npm >/dev/null || die "needs npm to download the clients"
  clients=${CARGO_TARGET_DIR:-$root/target}/clients
  mkdir -p "$clients"
  # Node looks for packages in the folder of the script that imports them.
  cp "$root"/tests/clients/* "$clients/"
  npm install --prefix "$clients" --silent --no-audit --no-fund --no-package-lock >/dev/null
}
