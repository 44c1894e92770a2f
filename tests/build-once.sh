#!/usr/bin/env bash
# Checks that `cargo test --workspace` after `cargo run -p local` compiles no dependency a second time:
#
#   tests/build-once.sh
#
# Cargo compiles a crate again when another command wants more features of it. The manifest of local/ therefore names the
# features that only tests and benchmarks want. This script compares the features of both commands, without compiling
# anything, and prints what is missing there.
set -euo pipefail

# shellcheck source=tests/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

host=$(rustc -vV | sed -n 's/^host: //p')
# features ARGUMENTS...: each crate with its features, once for each set of features that it is compiled with.
features() {
  cargo tree --locked --target "$host" --prefix none --format '{p} [{f}]' "$@" |
    sed -e 's/ (\*)$//' -e 's/ (proc-macro)//' -e '/^$/d' | sort -u
}
features --package local --edges normal,build >"${run=$(mktemp)}"
features --workspace --edges normal,build,dev >"${tests=$(mktemp)}"
trap 'rm -f "$run" "$tests"' EXIT

python3 - "$run" "$tests" <<'PY'
import collections, re, sys

def read(path):
    found = collections.defaultdict(set)
    for line in open(path):
        crate, features = re.fullmatch(r"(\S+ \S+).*\[(.*)\]\n", line).groups()
        # Crates of the workspace are compiled with their own features wherever they are used.
        if "(/" not in line and "(path" not in line:
            found[crate].add(features)
    return found

run, tests = (read(path) for path in sys.argv[1:])
twice = {crate: tests[crate] - run[crate] for crate in run if tests[crate] != run[crate]}
for crate, features in sorted(twice.items()):
    for more in sorted(features):
        print(f"FAIL {crate} is compiled again with the features {more or '(none)'}; name them in local/Cargo.toml")
print(f"{len(run) - len(twice)} passed, {len(twice)} failed")
sys.exit(bool(twice))
PY
