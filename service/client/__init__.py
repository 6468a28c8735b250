"""Clients of a running server: `from steadfast import Client, AsyncClient`."""

from service.client.client import AsyncClient, Client
from service.client.exchange import Answers, ClientError, NoSteadfast, Refused, Unreachable

__all__ = ["Answers", "AsyncClient", "Client", "ClientError", "NoSteadfast", "Refused", "Unreachable"]
