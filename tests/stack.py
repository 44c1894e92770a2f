"""A stack as its users see it, in AWS or in an emulator; see smoke.py and deploy.py."""

import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Request, TextMessage


class Checks:
    """Prints a line for each check, and counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name, holds, shown=""):
        self.passed += bool(holds)
        self.failed += not holds
        print(f"ok   {name}" if holds else f"FAIL {name} {shown}", flush=True)

    def status(self):
        """Prints the numbers, and returns the exit status."""
        print(f"{self.passed} passed, {self.failed} failed")
        return int(self.failed > 0 or self.passed == 0)


def until(holds, seconds=120):
    """Whether a condition holds in the end. A queue and a stream deliver when they like."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


class Stack:
    """A stack, its outputs, and how to call what they name."""

    def __init__(self, name):
        self.name, self.outputs = name, {}

    def read_outputs(self):
        """Reads the outputs, and returns the stack's status."""
        found = boto3.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
        return found["StackStatus"]

    def call(self, path, token=None, body=None):
        """The status and the body of an answer over HTTP."""
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.outputs["ApiUrl"] + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


class Live:
    """A client of graphql-transport-ws."""

    def __init__(self, stack, protocol="graphql-transport-ws"):
        address = urllib.parse.urlsplit(stack.outputs["WebSocketUrl"])
        port = address.port or {"wss": 443, "ws": 80}[address.scheme]
        self.socket = socket.create_connection((address.hostname, port), timeout=60)
        if address.scheme == "wss":
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=address.hostname)
        self.connection, self.events = WSConnection(ConnectionType.CLIENT), []
        self.send_event(Request(host=address.netloc, target=address.path, subprotocols=[protocol]))
        self.accepted = isinstance(self.event(), AcceptConnection)

    def send_event(self, event):
        self.socket.sendall(self.connection.send(event))

    def send(self, message):
        self.send_event(TextMessage(json.dumps(message)))

    def event(self):
        while not self.events:
            self.connection.receive_data(self.socket.recv(65536) or None)
            self.events += self.connection.events()
        return self.events.pop(0)

    def receive(self):
        """The next whole message."""
        text = ""
        while True:
            event = self.event()
            if isinstance(event, CloseConnection):
                return {"type": "closed"}
            if isinstance(event, Message):
                # The emulator sends messages as binary ones.
                text += event.data if isinstance(event.data, str) else event.data.decode()
                if event.message_finished:
                    return json.loads(text)

    def close(self):
        self.send_event(CloseConnection(code=1000))
        self.socket.close()
