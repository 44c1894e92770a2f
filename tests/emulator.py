"""Sends the events of one function to its emulator; see emulator.sh.

Prints a line for each event, and writes how many passed and how many failed to a file.
"""

import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


def invoke(url, event):
    """What the function makes of an event."""
    request = urllib.request.Request(url + "/2015-03-31/functions/function/invocations", event)
    for tries in range(100):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ValueError(f"the emulator answered {error.code}: {error.read().decode()}") from error
        except urllib.error.URLError:
            # It is not listening yet.
            if tries == 99:
                raise
            time.sleep(0.1)


def header(answer, name):
    for headers in (answer.get("headers") or {}, answer.get("multiValueHeaders") or {}):
        for key, value in headers.items():
            if key.lower() == name:
                return value if isinstance(value, str) else ",".join(value)
    return ""


def batch_fault(failed, event, answer):
    """What is wrong with the answer to a batch of which so many records should be reported; None if nothing is."""
    sent = {record.get("messageId") or record["dynamodb"]["SequenceNumber"] for record in event["Records"]}
    try:
        reported = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    except (KeyError, TypeError):
        return "the answer reports no failures, not even none"
    if len(set(reported)) != len(reported) or not sent.issuperset(reported):
        # For Lambda, one such name is a failure of the whole batch.
        return "the answer reports what was not sent, or twice"
    return None if len(reported) == failed else f"expected {failed} failures"


class Connections(http.server.BaseHTTPRequestHandler):
    """API Gateway's management API: notes the last message to each connection, or that it was closed."""

    last = {}

    def note(self, status, what):
        self.last[urllib.parse.unquote(self.path.rsplit("/", 1)[1])] = what
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.note(200, json.loads(body)["type"].replace("_", "-"))

    def do_DELETE(self):
        self.note(204, "closed")

    def log_message(self, *_):
        pass


def message_fault(expected, connection, status):
    """What is wrong with what came of a message, expected to be a message of a type, a close or nothing."""
    came = Connections.last.pop(connection, "nothing")
    return None if came == expected and status == 200 else f"expected {expected}, and {came} came with status {status}"


def graphql_fault(expected, status, answer):
    """What is wrong with an answer of GraphQL, expected to be a status without errors, or an error's code."""
    try:
        body = json.loads(answer.get("body") or "")
        codes = [error["extensions"]["code"] for error in body.get("errors", [])]
    except (ValueError, TypeError, KeyError):
        return "the body is no answer of GraphQL"
    if expected.isdigit():
        return f"expected status {expected} and no error" if codes or status != int(expected) else None
    return None if codes and codes[0] == expected.replace("-", "_").upper() else f"expected the error {expected}"


def fault(expected, event, answer):
    """What is wrong with an answer; None if nothing is."""
    sent = json.loads(event or b"{}")
    if expected.startswith("failed-"):
        return batch_fault(int(expected.removeprefix("failed-")), sent, answer)
    members = answer if isinstance(answer, dict) else {}
    error, status = members.get("errorType"), members.get("statusCode")
    fields = sent if isinstance(sent, dict) else {}
    context = fields.get("requestContext", {})
    if context.get("eventType") == "MESSAGE":
        return message_fault(expected, context["connectionId"], status)
    if context.get("eventType"):
        return None if status == int(expected) else f"expected status {expected}"
    if expected == "ok":
        return None if error is None and (status is None or status < 400) else "expected a result"
    if expected == "error":
        if error is None:
            return "expected an error"
        # A process that died is an error too, but not the function's own.
        died = error.startswith("Runtime.") or "panic" in json.dumps(answer).lower()
        return "the function crashed" if died else None
    if "/graphql" in str(fields.get("rawPath")):
        return graphql_fault(expected, status, members)
    if status != int(expected):
        return f"expected status {expected}"
    if status == 304:
        return "a body with status 304" if members.get("body") else None
    try:
        body = json.loads(members.get("body") or "")
    except ValueError:
        return "the body is not JSON"
    if status >= 400:
        if header(answer, "content-type").split(";")[0] != "application/problem+json":
            return "the error is not application/problem+json"
        if body.get("status") != status or not body.get("code"):
            return "the problem lacks its status or its code"
    return None


def main(url, folder, counts, token, port):
    connections = http.server.ThreadingHTTPServer(("127.0.0.1", port), Connections)
    threading.Thread(target=connections.serve_forever, daemon=True).start()
    passed = failed = 0
    for file in sorted(folder.glob("*.json")):
        name, expected = f"{folder.name}/{file.name}", file.suffixes[-2].lstrip(".")
        started, event, answer = time.monotonic(), file.read_bytes(), None
        event = event.replace(b"${TOKEN}", token.encode())
        try:
            answer = invoke(url, event)
            wrong = fault(expected, event, answer)
        except (ValueError, OSError) as error:
            wrong = str(error)
        if wrong:
            failed += 1
            print(f"FAIL {name}: {wrong}; got {json.dumps(answer)[:2000]}", flush=True)
        else:
            passed += 1
            print(f"ok   {name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)
    counts.write_text(f"{passed} {failed}\n")


main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
