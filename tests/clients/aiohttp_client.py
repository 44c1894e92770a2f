"""Queries and subscribes with gql, over the aiohttp transports that docs/graphql.md names. Ends with "N passed, M failed"."""

import asyncio
import json
import os
import urllib.request

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

GATEWAY, TOKEN = os.environ["GATEWAY"], os.environ["TOKEN"]
AUTHORIZATION = f"Bearer {TOKEN}"
EVENT = {"actor_type": "user", "actor_id": "user-demo", "action": "comment.created", "details": {"text": "Soon."}}


def record():
    with urllib.request.urlopen(f"{GATEWAY}/dev/token?sub=service&scope=activity:write") as answer:
        token = json.load(answer)["access_token"]
    url = f"{GATEWAY}/api/v1/workspaces/ws-demo/activity"
    request = urllib.request.Request(url, json.dumps(EVENT).encode(), {"Authorization": f"Bearer {token}"})
    urllib.request.urlopen(request).close()


async def query():
    transport = AIOHTTPTransport(url=f"{GATEWAY}/graphql", headers={"Authorization": AUTHORIZATION})
    # The client reads the schema, and checks the query against it.
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        listed = await session.execute(gql('{ activityList(projectId: "ws-demo", first: 2) { activities { id } } }'))
    assert len(listed["activityList"]["activities"]) == 2, listed


async def subscription():
    transport = AIOHTTPWebsocketsTransport(
        url=f"{GATEWAY.replace('http', 'ws', 1)}/graphql",
        init_payload={"authorization": AUTHORIZATION},
        subprotocols=["graphql-transport-ws"],
    )

    async def record_until_received():
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(record)

    async with Client(transport=transport) as session:
        recording = asyncio.create_task(record_until_received())
        document = gql('subscription { subscribeToActivity(projectId: "ws-demo") { mutation node { comment { text } } } }')
        async for update in session.subscribe(document):
            recording.cancel()
            expected = {"mutation": "ACTIVITY_CREATED", "node": {"comment": {"text": "Soon."}}}
            assert update == {"subscribeToActivity": expected}, update
            return


async def main():
    failed = 0
    for name, run in {"query with gql": query, "subscription with gql": subscription}.items():
        try:
            await asyncio.wait_for(run(), 120)
            print(f"ok   {name}")
        except Exception as error:  # Whatever it is, the others run.
            failed += 1
            print(f"FAIL {name}: {error!r}")
    print(f"{2 - failed} passed, {failed} failed")
    raise SystemExit(failed > 0)


asyncio.run(main())
