"""A client of this service; of its dependencies it needs only httpx."""

from chai_client.asynchronous import AsyncClient
from chai_client.client import Client
from chai_client.errors import BadInput, ChaiError, Refused, Unfinished, Unreachable
from chai_client.values import Batch, File, Video

__all__ = [
    "AsyncClient",
    "BadInput",
    "Batch",
    "ChaiError",
    "Client",
    "File",
    "Refused",
    "Unfinished",
    "Unreachable",
    "Video",
]
