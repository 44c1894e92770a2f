"""Sends the sample events of one function to its emulator; see emulator.sh.

Prints a line for each event, and writes the numbers of passed and failed events to a file.
"""

import base64
import gzip
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
    """The function's response to an event."""
    request = urllib.request.Request(url + "/2015-03-31/functions/function/invocations", event)
    for tries in range(100):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ValueError(f"the emulator responded with {error.code}: {error.read().decode()}") from error
        except urllib.error.URLError:
            # The emulator is not listening yet.
            if tries == 99:
                raise
            time.sleep(0.1)


def header(response, name):
    for headers in (response.get("headers") or {}, response.get("multiValueHeaders") or {}):
        for key, value in headers.items():
            if key.lower() == name:
                return value if isinstance(value, str) else ",".join(value)
    return ""


def batch_fault(failed, event, response):
    """The fault of a response to a batch that must report `failed` records; None if none."""
    sent = {record.get("messageId") or record["dynamodb"]["SequenceNumber"] for record in event["Records"]}
    try:
        reported = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
    except (KeyError, TypeError):
        return "the response has no list of failures"
    if len(set(reported)) != len(reported) or not sent.issuperset(reported):
        # Lambda takes one such id as a failure of the whole batch.
        return "the response reports an id that was not sent, or one twice"
    return None if len(reported) == failed else f"expected {failed} failures"


class Connections(http.server.BaseHTTPRequestHandler):
    """API Gateway's management API. It keeps the type of the last message to each connection, or `closed`."""

    last = {}

    def respond(self, status, outcome):
        self.last[urllib.parse.unquote(self.path.rsplit("/", 1)[1])] = outcome
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.respond(200, json.loads(body)["type"].replace("_", "-"))

    def do_DELETE(self):
        self.respond(204, "closed")

    def log_message(self, *_):
        pass


def message_fault(expected, connection, status):
    """The fault of the outcome of a message, which must be a type, `closed` or `nothing`; None if none."""
    outcome = Connections.last.pop(connection, "nothing")
    return None if outcome == expected and status == 200 else f"expected {expected}, got {outcome} with status {status}"


def body_of(response):
    """The text of a response's body, which API Gateway decodes and a client decompresses."""
    body = response.get("body") or ""
    if response.get("isBase64Encoded"):
        body = base64.b64decode(body)
        compressed = header(response, "content-encoding") == "gzip"
        body = (gzip.decompress(body) if compressed else body).decode()
    return body


def graphql_fault(expected, status, response):
    """The fault of a GraphQL response, which must have a status without errors, or an error's code; None if none."""
    try:
        body = json.loads(body_of(response))
        codes = [error["extensions"]["code"] for error in body.get("errors", [])]
    except (ValueError, TypeError, KeyError):
        return "the body is no GraphQL response"
    if expected.isdigit():
        return f"expected status {expected} and no error" if codes or status != int(expected) else None
    return None if codes and codes[0] == expected.replace("-", "_").upper() else f"expected the error {expected}"


def fault(expected, event, response):
    """The fault of a response; None if none."""
    sent = json.loads(event or b"{}")
    if expected.startswith("failed-"):
        return batch_fault(int(expected.removeprefix("failed-")), sent, response)
    members = response if isinstance(response, dict) else {}
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
        # A crash is an error of the process, and not one that the function returns.
        crashed = error.startswith("Runtime.") or "panic" in json.dumps(response).lower()
        return "the function crashed" if crashed else None
    if "/graphql" in str(fields.get("rawPath")):
        return graphql_fault(expected, status, members)
    if status != int(expected):
        return f"expected status {expected}"
    if status == 304:
        return "a body with status 304" if members.get("body") else None
    try:
        body = json.loads(body_of(members))
    except ValueError:
        return "the body is not JSON"
    if status >= 400:
        if header(response, "content-type").split(";")[0] != "application/problem+json":
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
        started, event, response = time.monotonic(), file.read_bytes(), None
        event = event.replace(b"${TOKEN}", token.encode())
        try:
            response = invoke(url, event)
            wrong = fault(expected, event, response)
        except (ValueError, OSError) as error:
            wrong = str(error)
        if wrong:
            failed += 1
            print(f"FAIL {name}: {wrong}; got {json.dumps(response)[:2000]}", flush=True)
        else:
            passed += 1
            print(f"ok   {name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)
    counts.write_text(f"{passed} {failed}\n")


main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
