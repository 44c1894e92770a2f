# shellcheck shell=bash
# Sourced by the scripts here that start a server: $root, and how to speak, to find a port and to wait.

script=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { echo "$script: $*" >&2; }
die() { say "$@"; exit 1; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# await_server NAME PID LOG CURL-ARGUMENTS...: waits, 30 s at most, until the server answers.
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

# Installs the clients that others wrote, and copies what uses them beside them, to $clients. Needs node and npm.
install_clients() {
  command -v npm >/dev/null || die "needs npm to download the clients"
  clients=${CARGO_TARGET_DIR:-$root/target}/clients
  mkdir -p "$clients"
  # Node finds packages in the folder of what uses them.
  cp "$root"/tests/clients/* "$clients/"
  npm install --prefix "$clients" --silent --no-audit --no-fund --no-package-lock >/dev/null
}
