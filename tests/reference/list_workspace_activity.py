import asyncio
import httpx

async def get_workspace_activity():
    base = "http://localhost:8000/api/v1"
    headers = {"Authorization": "Bearer YOUR_TOKEN"}
    ws_id = "your-workspace-id"

    async with httpx.AsyncClient() as client:
        response = await client.get(
            f"{base}/workspaces/{ws_id}/activity",
            params={"limit": 20, "offset": 0},
            headers=headers
        )
        activities = response.json()
        
        for activity in activities:
            print(f"[{activity['action']}] by {activity['actor_type']}:{activity['actor_id']}")
            print(f"  Details: {activity['details']}")

asyncio.run(get_workspace_activity())
