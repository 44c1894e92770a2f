import asyncio
import httpx

async def get_issue_activity():
    base = "http://localhost:8000/api/v1"
    headers = {"Authorization": "Bearer YOUR_TOKEN"}
    ws_id = "your-workspace-id"
    issue_id = "your-issue-id"

    async with httpx.AsyncClient() as client:
        response = await client.get(
            f"{base}/workspaces/{ws_id}/issues/{issue_id}/activity",
            params={"limit": 10},
            headers=headers
        )
        activities = response.json()
        
        for activity in activities:
            print(f"{activity['created_at']}: {activity['action']}")
            print(f"  Actor: {activity['actor_type']} {activity['actor_id']}")
            if activity.get('details'):
                print(f"  Details: {activity['details']}")

asyncio.run(get_issue_activity())
