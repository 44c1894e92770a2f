"""Uses a stack as its users do: records over each way in, reads back, and subscribes.

    WRITER=TOKEN READER=TOKEN python3 tests/smoke.py STACK

WRITER is a service's token, with the scopes activity:write and activity:admin. READER is a person's, without a scope. Both are
of the stack's issuer, for its audience. The AWS credentials and the region are those of the AWS CLI. They need the stack's
ProducerPolicyArn and DirectoryProducerPolicyArn, and the right to describe the stack.

Each run records a workspace of its own, smoke-TIME, which stays, as everything in the log does. Needs the packages boto3 and
wsproto. tests/deploy.sh runs the same checks on an emulator.
"""

import base64
import json
import os
import sys
import time

import boto3

from stack import Checks, Live, Stack, until


class Run:
    """The checks of one run, in a workspace of its own. `live` is the reader's token for the WebSocket."""

    def __init__(self, check, stack, writer, reader, live=None):
        self.check, self.stack, self.writer, self.reader, self.live = check, stack, writer, reader, live or reader
        claims = reader.split(".")[1]
        self.sub = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        self.started, self.made = time.time(), 0
        self.workspace = f"smoke-{int(self.started)}"
        self.feed = f"/api/v1/workspaces/{self.workspace}/activity"

    def event(self, name, action="issue.completed", **members):
        """An event of the workspace, a little later than the one before."""
        self.made += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.started - 60)) + f".{self.made:06}Z"
        return {"id": name, "workspace_id": self.workspace, "issue_id": "issue-1", "actor_type": "user", "actor_id": self.sub,
                "action": action, "created_at": at} | members

    def post(self, *events, token=None):
        return self.stack.call(self.feed, token or self.writer, events[0] if len(events) == 1 else list(events))

    def has(self, name):
        return self.stack.call(f"{self.feed}/{name}", self.reader)[0] == 200

    def ids(self, path):
        status, body = self.stack.call(path, self.reader)
        return [activity["id"] for activity in body] if status == 200 else [status]

    def record_over_http(self):
        check = self.check
        created = self.event("created", "workspace.created", details={"name": "Smoke", "organization": self.workspace})
        member = self.event("member", "member.added", details={"user": self.sub, "role": "owner"})
        status, body = self.post(created)
        # A busy emulator may invoke a function again that has recorded already, which answers 200.
        check("HTTP creates a workspace", status in (200, 201), (status, body))
        over_http = self.event("over-http")
        status, results = self.post(member, over_http)
        check("HTTP records an array", status == 200 and all(result["status"] in (200, 201) for result in results), results)
        check("HTTP knows a repeat", self.post(over_http)[0] == 200)
        check("HTTP refuses a conflict", self.post(over_http | {"actor_id": "another"})[0] == 409)
        check("HTTP wants a token", self.stack.call(self.feed)[0] == 401)
        check("HTTP wants the scope for recording", self.post(over_http, token=self.reader)[0] == 403)

    def read_over_http(self):
        check = self.check
        expected = ["over-http", "member", "created"]
        check("the member reads the feed", until(lambda: self.ids(self.feed) == expected), self.ids(self.feed))
        issue = f"/api/v1/workspaces/{self.workspace}/issues/issue-1/activity"
        check("the issue has its feed", until(lambda: "over-http" in self.ids(issue)), self.ids(issue))
        check("one activity is read", self.has("over-http") and not self.has("absent"))
        query = f'{{ activityList(companyId: "{self.workspace}") {{ totalCount }} }}'
        status, body = self.stack.call("/graphql", self.reader, {"query": query})
        check("GraphQL answers", (status, body.get("data")) == (200, {"activityList": {"totalCount": 3}}), body)
        status, actions = self.stack.call("/api/v1/actions", self.reader)
        check("the actions are listed", status == 200 and any(row["action"] == "issue.created" for row in actions))

    def record_over_aws(self):
        check, queue = self.check, self.stack.outputs["RecordQueueUrl"]
        boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(self.event("over-queue")))
        check("the queue's messages are recorded", until(lambda: self.has("over-queue")))
        check("the bus takes an event", self.put(self.event("over-bus")))
        check("the bus's events are recorded", until(lambda: self.has("over-bus")))
        invoked = self.event("invoked")
        answer, result = self.invoke(invoked)
        check("an invocation records", "FunctionError" not in answer and result["status"] == "recorded", result)
        check("an invocation that conflicts fails", "FunctionError" in self.invoke(invoked | {"actor_id": "another"})[0])
        guest = self.event("guest", "member.added", details={"user": "smoke-guest", "role": "client"})
        check("record-invoke adds no members", "FunctionError" in self.invoke(guest)[0])
        answer, result = self.invoke(guest, function="DirectoryFunctionName")
        check("record-directory adds members", "FunctionError" not in answer and result["status"] == "recorded", result)
        answer, _ = self.invoke(self.event("later"), "Event")
        check("an asynchronous invocation is taken", answer["StatusCode"] == 202)
        check("an asynchronous invocation records", until(lambda: self.has("later")))

    def invoke(self, event, kind="RequestResponse", function="RecordFunctionName"):
        answer = boto3.client("lambda").invoke(FunctionName=self.stack.outputs[function], InvocationType=kind,
                                               Payload=json.dumps(event))
        return answer, json.loads(answer["Payload"].read() or b"null")

    def put(self, event):
        """Puts an event on the bus, and returns whether the bus took it."""
        detail = json.dumps({name: member for name, member in event.items() if name != "action"})
        entry = {"EventBusName": self.stack.outputs["EventBusName"], "Source": "com.example.smoke",
                 "DetailType": event["action"], "Detail": detail}
        return boto3.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    def subscribe(self):
        check = self.check
        check("the WebSocket refuses another protocol", not Live(self.stack, "another").accepted)
        query = f'subscription {{ subscribeToActivity(projectId: "{self.workspace}") {{ mutation node {{ id: activityId }} }} }}'
        operation = {"type": "subscribe", "id": "1", "payload": {"query": query}}
        client = Live(self.stack)
        client.send(operation)
        answer = client.receive()
        check("a subscription wants a session", answer["type"] == "pong" and "closing" in answer["payload"], answer)
        client.close()
        client = Live(self.stack)
        client.send({"type": "connection_init", "payload": {"authorization": f"Bearer {self.live}"}})
        answer = client.receive()
        check("a token opens a session", answer["type"] == "connection_ack", answer)
        client.send(operation)
        answer = client.receive()
        check("a subscription starts", answer["type"] == "pong" and answer["payload"]["id"] == "1", answer)
        check("HTTP records for the subscriber", self.post(self.event("live"))[0] == 201)
        answer = client.receive()
        node = answer.get("payload", {}).get("data", {}).get("subscribeToActivity", {}).get("node")
        check("the stream reaches the subscriber", node == {"id": "live"}, answer)
        client.close()

    def all(self):
        self.record_over_http()
        self.read_over_http()
        self.record_over_aws()
        self.subscribe()


def main(name):
    stack, check = Stack(name), Checks()
    status = stack.read_outputs()
    check("the stack is there", status.endswith("_COMPLETE"), status)
    Run(check, stack, os.environ["WRITER"], os.environ["READER"]).all()
    sys.exit(check.status())


if __name__ == "__main__":
    main(sys.argv[1])
