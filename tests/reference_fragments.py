"""Runs the fragments of the reference, each with the names that it expects; see reference-examples.sh.

Prints a line for each. Most fragments return nothing, so that their effects are checked from outside.
"""

import asyncio
import pathlib
import sys

import httpx

FOLDER = pathlib.Path(__file__).parent / "reference"


def run(name, names):
    exec(compile((FOLDER / name).read_text(), name, "exec"), names)
    return names


async def paginated_activity(base, ws_id, headers):
    """The activities that the fragment reads, which are in all pages of its responses."""
    pages = []

    async def keep(response):
        await response.aread()
        response.raise_for_status()
        pages.append(response.json())

    async with httpx.AsyncClient(headers=headers, event_hooks={"response": [keep]}) as client:
        names = run("paginated_activity.py", {"client": client, "base": base, "ws_id": ws_id})
        await asyncio.wait_for(names["paginated_activity"](), 30)
    assert len(pages) >= 2 and pages[-1] == [], "the fragment did not read to the end"
    activities = [activity for page in pages for activity in page]
    assert len({activity["id"] for activity in activities}) == len(activities), "an activity was read twice"
    return activities


def main(token, ws_id):
    base, headers = "http://localhost:8000/api/v1", {"Authorization": f"Bearer {token}"}
    activities = asyncio.run(paginated_activity(base, ws_id, headers))
    print(f"paginated_activity: {len(activities)} activities")

    names = run("actor_types.py", {"activities": activities})
    users, agents = names["user_actions"], names["agent_actions"]
    assert users and agents and len(users) + len(agents) == len(activities)
    print(f"actor_types: {len(users)} by users, {len(agents)} by agents")

    def fetch_activity(ws_id):
        return httpx.get(f"{base}/workspaces/{ws_id}/activity", headers=headers).raise_for_status().json()

    cached = run("cached_activity.py", {"fetch_activity": fetch_activity})["get_cached_activity"]
    assert cached(ws_id, 1) is cached(ws_id, 1) and cached(ws_id, 1) == activities[:50]
    print(f"cached_activity: {len(cached(ws_id, 1))} activities")

    run("detect_anomalies.py", {})["detect_anomalies"](activities)
    print("detect_anomalies: done")


main(*sys.argv[1:])
