"""The S3 server of the tests, from the project's own demo."""

from flows.object_store import ADMIN, BUCKET, Server, free_port, serving, weed

__all__ = ["ADMIN", "BUCKET", "Server", "free_port", "serving", "weed"]
