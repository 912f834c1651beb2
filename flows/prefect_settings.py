"""Settings of Prefect that the promises of these flows rest on: `make stack` and a real installation use the same.

The values are for environment variables. Why each one is as it is stands beside it; docs/operations.md lists them.
"""

HEARTBEAT_SECONDS = 30
# A run whose heartbeats stop is dead after so long. It is also how long a server may be away before the runs that
# live on without it are taken for dead, so it is no smaller.
ZOMBIE_SECONDS = 300
# People are told of a run that no worker has taken so long after its time.
LATE_SECONDS = 600
# And of one that still runs so long after it began: it may hang.
ENDLESS_SECONDS = 43_200
# And when no run of a flow has completed for so many hours: longer than its schedule in prefect.yaml goes without one.
SILENCES = {"retrain": 192.0, "ingest": 3.0, "audit": 50.0, "watch": 50.0}

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
# Where the UI is opened, by commas. Left out it is *: a browser lets every page that somebody looks at drive the API.
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
SERVER = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # In memory, a restarted server forgets who holds the slot of a concurrency limit, and ends the run that does.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # By default the server forgets, a minute after the time is up, that it waits for a heartbeat: a run that died while
    # the server was away would stay Running for ever. So it remembers for a week.
    "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
}

WORKER = {
    "DO_NOT_TRACK": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    # Waits of 2, 4, … 128 seconds: a request outlives a server that is away for four minutes, nearly ZOMBIE_SECONDS.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    # What a server says whose database is away, and a proxy whose server doesn't answer: wait as for one that is away.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
    # A retrain waits for train to begin, and a person for a release: look for work more often than every 10 seconds.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
