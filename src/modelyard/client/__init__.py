"""The SDK: what a program uses to reach a server. Everything in it goes over HTTP."""

from modelyard.client.client import Client, connect
from modelyard.client.deployment import Action, Deployed, Step

__all__ = ["Action", "Client", "Deployed", "Step", "connect"]
