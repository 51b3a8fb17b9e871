"""Who may call: every route needs a token unless its path is in `PUBLIC`.

The check is a layer around the whole application, so that a new route is closed before anybody
thinks of it. What a role may do is decided by the `Owner` and `AgentCaller` parameters of routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from modelyard.api import errors
from modelyard.domain.principal import Principal, Role
from modelyard.errors import ModelyardError, PermissionDenied, Unauthenticated

PUBLIC = frozenset({"/livez"})
"""Paths that answer without a token."""

FindPrincipal = Callable[[str], Principal | None]


class RequireToken:
    """Answers 401 to everything without a valid token."""

    def __init__(self, app: ASGIApp, find: FindPrincipal) -> None:
        self._app = app
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PUBLIC:
            try:
                scope["principal"] = await self._principal(Headers(scope=scope))
            except ModelyardError as error:
                await errors.response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _principal(self, headers: Headers) -> Principal:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        hint = (
            "send `Authorization: Bearer <token>`; the token of the local server is in the "
            "file `token` of its home folder"
        )
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("the request has no token", hint=hint)
        principal = await to_thread.run_sync(self._find, token.strip())
        if principal is None:
            raise Unauthenticated("the token is not known here", hint=hint)
        return principal


def _caller(request: Request) -> Principal:
    principal: Principal = request.scope["principal"]
    return principal


def _owner(request: Request) -> Principal:
    principal = _caller(request)
    if principal.role is not Role.OWNER:
        raise PermissionDenied(
            f"`{principal.name}` is an agent and may not do this",
            hint="use the token of a person",
        )
    return principal


def _agent(request: Request) -> Principal:
    principal = _caller(request)
    wanted = request.path_params.get("agent")
    if principal.role is not Role.AGENT or principal.name != wanted:
        raise PermissionDenied(
            f"this belongs to the agent `{wanted}` alone", hint="use that agent's own token"
        )
    return principal


Caller = Annotated[Principal, Depends(_caller)]
"""Anybody with a token."""
Owner = Annotated[Principal, Depends(_owner)]
"""A person or program that may change the workspace."""
AgentCaller = Annotated[Principal, Depends(_agent)]
"""The agent whose name is in the path."""
