#!/usr/bin/env bash
# Runs the guide for producers, the section "From services in AWS" of docs/recording.md, unchanged. The AWS CLI calls
# the local gateway, on an empty table:
#
#   tests/producers.sh target/debug/local
#
# Every command of the section runs, except those in blocks for a deployed stack, and each has a check here. The script
# needs port 8000, curl and python3. It installs the CLI in the target folder if it is missing.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"
# The guide's paths are relative to the root.
cd "$root"

if ! command -v aws >/dev/null; then
  venv=${CARGO_TARGET_DIR:-$root/target}/venv
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "$(grep '^awscli==' .ci/requirements.txt)"
  PATH=$(cd "$venv" && pwd)/bin:$PATH
fi
# The CLI must not use this machine's configuration, because it could reach a real account.
for name in $(compgen -e AWS_ || true); do unset "$name"; done
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true AWS_PAGER=

get() { curl --silent --include --max-time 5 --header "Authorization: Bearer $token" "$gateway/api/v1/workspaces/ws-demo$1"; }
dead_letters() { curl --silent --fail --max-time 5 "$gateway/dev/dead-letters"; }

# until_true SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# The section's commands: the lines of its shell blocks, with their continuation lines.
commands=()
while IFS= read -r -d '' command; do commands+=("$command"); done < <(python3 - <<'PY'
import re
section = re.search(r"^## From services in AWS$(.*?)^## ", open("docs/recording.md").read(), re.M | re.S)[1]
for block in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S):
    for command in re.findall(r"\w+\(\) \(\n(?:.*\n)*?\)\n|(?:.*\\\n)*.+\n", block):
        print(command, end="\0")
PY
)

# runs COMMAND PATTERN...: does the same as `prints` for the text of a command.
runs() { prints bash -euo pipefail -c "$1" -- "${@:2}"; }

# The ids of all events in the guide's files.
ids=()
while read -r id; do ids+=("$id"); done < <(python3 - <<'PY'
import json, pathlib
events = pathlib.Path("events")
bodies = [entry["Detail"] for entry in json.loads((events / "put-events.json").read_text())]
bodies += [entry["MessageBody"] for entry in json.loads((events / "send-message-batch.json").read_text())]
direct = json.loads((events / "invoke.json").read_text()) + [json.loads((events / "message.json").read_text())]
print(*sorted({event["id"] for event in direct + [json.loads(body) for body in bodies]}), sep="\n")
PY
)
((${#ids[@]} == 7)) || die "the guide's files have ${#ids[@]} events"

# The ids of the feed's first page, as many as the guide's files have.
newest() { get "/activity?limit=${#ids[@]}" | tail -n 1 | python3 -c 'import json, sys; print(*sorted(e["id"] for e in json.load(sys.stdin)), sep="\n")'; }
are_newest() { [[ $(newest) == "$(printf '%s\n' "${ids[@]}")" ]]; }
no_leak() { [[ -z $(compgen -e AWS_ | grep -vE '^AWS_(CONFIG_FILE|SHARED_CREDENTIALS_FILE|EC2_METADATA_DISABLED|PAGER)$') ]]; }
is_recorded() { get "/activity/$1" | grep -q '^HTTP/1.1 200'; }
total() { get '/activity?limit=1&include=total' | tr -d '\r' | sed -n 's/^x-total-count: //p'; }
total_is() { [[ $(total) == "$1" ]]; }
are_dead() { [[ $(dead_letters | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))') == "$1" ]]; }

before=$(total)
curl --silent --fail --output /dev/null --header 'X-Amz-Target: AmazonSQS.SendMessage' "$gateway/dev/queue" \
  --data '{"QueueUrl": "queue", "MessageBody": "{\"action\": \"broken\"}"}' || die "the queue accepts no message"
# The second round sends the same events again, which must not change the feed.
for round in first second; do
  for command in "${commands[@]}"; do
    name="$round: $(head -n 1 <<<"$command")"
    case $command in
      *'() ('*)
        eval "$command"
        export -f "${command%%(*}"
        ;;
      [A-Z]*=*)
        set -a
        eval "$command"
        set +a
        ;;
      '$AWS events put-events '*) check "$name" runs "$command" '"FailedEntryCount": 0' ;;
      '$AWS sqs send-message '*) check "$name" runs "$command" '"MD5OfMessageBody": "[0-9a-f]{32}"' ;;
      '$AWS sqs send-message-batch '*) check "$name" runs "$command" '"Id": "first"' '"Id": "second"' ;;
      '$AWS lambda invoke '*) check "$name" runs "$command" '"status": ?"(recorded|repeated)"' '"StatusCode": 200' ;;
      # One round is enough for the message that is refused.
      '$AWS sqs receive-message '*)
        [[ $round == second ]] || continue
        check "an invalid message is refused" until_true 40 are_dead 1
        check "$name" runs "$command" '"Body": "\{\\"action\\": \\"broken\\"\}"'
        ;;
      '$AWS sqs start-message-move-task '*)
        [[ $round == second ]] || continue
        check "$name" runs "$command" '"TaskHandle"'
        check "a moved message is refused again" until_true 40 are_dead 1
        ;;
      *) check "$name" runs "echo 'this command has no check'; false" ;;
    esac
  done
  for id in "${ids[@]}"; do
    check "$round: $id is in the feed" until_true 10 is_recorded "$id"
  done
  check "$round: nothing else is in the feed" total_is $((before + ${#ids[@]}))
  check "$round: what was just recorded comes first" are_newest
done
check "nothing of the local AWS is left in the shell" no_leak

echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
