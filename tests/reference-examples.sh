#!/usr/bin/env bash
# Runs the examples of the REST reference, in tests/reference/, against the local gateway, on an empty table:
#
#   tests/reference-examples.sh target/debug/local
#
# The examples change only in the token and the two ids, which the reference leaves to the reader. They need port 8000,
# curl and python3 with httpx, which the script installs in the target folder if it is missing.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"
ws_id=ws-demo
issue_id=issue-demo-1

if ! python3 -c 'import httpx' 2>/dev/null; then
  venv=${CARGO_TARGET_DIR:-$root/target}/venv
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet httpx
  PATH=$(cd "$venv" && pwd)/bin:$PATH
fi

# The Python examples say your-workspace-id, the curl examples "workspace-id".
fill_in() {
  sed -e "s/YOUR_TOKEN/$token/; s/your-jwt-token/$token/" \
    -e "s/your-workspace-id/$ws_id/; s/\"workspace-id\"/\"$ws_id\"/" \
    -e "s/your-issue-id/$issue_id/; s/\"issue-id\"/\"$issue_id\"/" "$root/tests/reference/$1" >"$work/$1"
}

fill_in list_workspace_activity.py
check list_workspace_activity.py prints python3 "$work/list_workspace_activity.py" -- \
  '^\[issue\.created\] by user:user-demo$' '^\[.*\] by agent:agent-demo$' "^  Details: \\{.*'title': "

fill_in get_issue_activity.py
check get_issue_activity.py prints python3 "$work/get_issue_activity.py" -- \
  '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?: issue\.created$' \
  '^  Actor: user user-demo$' "^  Details: \\{.*'identifier': "

fill_in filter_recent_activity.py
check filter_recent_activity.py prints python3 "$work/filter_recent_activity.py" -- \
  '^issue\.created: [1-9][0-9]* events$' '^issue\.updated: [1-9][0-9]* events$'

# curl.sh prints two arrays, the feeds of the workspace and of the issue.
fill_in curl.sh
cat >"$work/two_feeds.py" <<'PY'
import json, sys
text, feeds, reader = sys.stdin.read(), [], json.JSONDecoder()
while text := text.strip():
    feed, end = reader.raw_decode(text)
    feeds.append(feed)
    text = text[end:]
whole, issue = feeds
assert whole and issue and len(whole) <= 20 and len(issue) <= 10
for activity in whole + issue:
    assert list(activity)[:8] == ["id", "workspace_id", "issue_id", "actor_type", "actor_id", "action", "details",
                                  "created_at"], activity
assert {activity["issue_id"] for activity in issue} == {"issue-demo-1"}
assert all(feed == sorted(feed, key=lambda activity: activity["created_at"], reverse=True) for feed in feeds)
print("two feeds")
PY
# shellcheck disable=SC2016
check curl.sh prints bash -o pipefail -c 'bash "$0" | python3 "$1"' "$work/curl.sh" "$work/two_feeds.py" -- '^two feeds$'

check fragments prints python3 "$root/tests/reference_fragments.py" "$token" "$ws_id" -- \
  '^paginated_activity: [1-9]' '^actor_types: [1-9]' '^cached_activity: [1-9]' '^detect_anomalies: done$'

echo "$passed passed, $failed failed"
((failed == 0))
