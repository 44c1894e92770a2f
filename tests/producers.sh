#!/usr/bin/env bash
# Runs the producers' guide, the section "From services in AWS" of docs/recording.md, as it stands there, with the AWS CLI
# against the local gateway on a fresh table:
#
#   tests/producers.sh target/debug/local
#
# Every command of the section is run but those in a block that is marked as one for a stack, and each has its check here.
# The guide names port 8000, so it has to be free. Needs curl and python3; the CLI is installed in the target folder when missing.
set -euo pipefail

# shellcheck source=tests/gateway.sh
source "$(dirname "${BASH_SOURCE[0]}")/gateway.sh"
# The paths in the guide are from here.
cd "$root"

if ! command -v aws >/dev/null; then
  venv=${CARGO_TARGET_DIR:-$root/target}/venv
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "$(grep '^awscli==' .ci/requirements.txt)"
  PATH=$(cd "$venv" && pwd)/bin:$PATH
fi
# Nothing of this machine's may reach the CLI, least of all its owner's account.
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

# The section's commands: the lines of its shell blocks, each with those it is continued on.
commands=()
while IFS= read -r -d '' command; do commands+=("$command"); done < <(python3 - <<'PY'
import re
section = re.search(r"^## From services in AWS$(.*?)^## ", open("docs/recording.md").read(), re.M | re.S)[1]
for block in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S):
    for command in re.findall(r"(?:.*\\\n)*.+\n", block):
        print(command, end="\0")
PY
)

# runs COMMAND PATTERN...: as prints, for a command as it is pasted.
runs() { prints bash -euo pipefail -c "$1" -- "${@:2}"; }

# All that the guide's events say, in whichever file.
ids=()
while read -r id; do ids+=("$id"); done < <(python3 - <<'PY'
import json, pathlib
events = pathlib.Path("events")
bodies = [entry["Detail"] for entry in json.loads((events / "put-events.json").read_text())]
bodies += [entry["MessageBody"] for entry in json.loads((events / "send-message-batch.json").read_text())]
direct = json.loads((events / "record-activity/23-direct-array.ok.json").read_text())
print(*sorted({event["id"] for event in direct + [json.loads(body) for body in bodies]}), sep="\n")
PY
)
((${#ids[@]} == 6)) || die "the guide's files hold ${#ids[@]} events"

is_recorded() { get "/activity/$1" | grep -q '^HTTP/1.1 200'; }
total() { get '/activity?limit=1&include=total' | tr -d '\r' | sed -n 's/^x-total-count: //p'; }
total_is() { [[ $(total) == "$1" ]]; }
are_dead() { [[ $(dead_letters | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))') == "$1" ]]; }

before=$(total)
curl --silent --fail --output /dev/null --header 'X-Amz-Target: AmazonSQS.SendMessage' "$gateway/dev/queue" \
  --data '{"QueueUrl": "queue", "MessageBody": "{\"action\": \"broken\"}"}' || die "the queue takes no message"
# What the first round sent, the second sends again, and nobody should be able to tell.
for round in first second; do
  for command in "${commands[@]}"; do
    name="$round: $(head -n 1 <<<"$command")"
    case $command in
      export\ * | [A-Z]*=*)
        set -a
        eval "$command"
        set +a
        ;;
      'aws events put-events '*) check "$name" runs "$command" '"FailedEntryCount": 0' ;;
      'aws sqs send-message '*) check "$name" runs "$command" '"MD5OfMessageBody": "[0-9a-f]{32}"' ;;
      'aws sqs send-message-batch '*) check "$name" runs "$command" '"Id": "first"' '"Id": "second"' ;;
      'aws lambda invoke '*) check "$name" runs "$command" '"status": ?"(recorded|repeated)"' '"StatusCode": 200' ;;
      # Once will do: to die takes twenty attempts, one a second.
      'aws sqs receive-message '*)
        [[ $round == second ]] || continue
        check "what cannot be recorded is a dead letter in the end" until_true 40 are_dead 1
        check "$name" runs "$command" '"Body": "\{\\"action\\": \\"broken\\"\}"'
        ;;
      'aws sqs start-message-move-task '*)
        [[ $round == second ]] || continue
        check "$name" runs "$command" '"TaskHandle"'
        check "what is moved is no dead letter" are_dead 0
        ;;
      *) check "$name" runs "echo 'there is no check for this command'; false" ;;
    esac
  done
  for id in "${ids[@]}"; do
    check "$round: $id is in the feed" until_true 10 is_recorded "$id"
  done
  check "$round: nothing else is" total_is $((before + ${#ids[@]}))
done

echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
