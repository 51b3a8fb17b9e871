"""Who may ask a service: its keys, tokens, and the certificates of its callers."""

from __future__ import annotations

import re
from pathlib import Path

from modelyard.client import certificates
from modelyard.client.collection import Collection
from modelyard.client.connection import parse
from modelyard.client.files import StrPath
from modelyard.domain.clients import ClientCertificate
from modelyard.domain.service import Authentication, KeySlot, Service, ServiceKeys
from modelyard.domain.tokens import ServiceToken
from modelyard.domain.validation import compose
from modelyard.domain.values import SERVICE_NAME_PATTERN
from modelyard.errors import InvalidRequest
from modelyard.schemas import AskToken


class Access(Collection[Service]):
    """What callers of services show, to be let in."""

    def keys(self, name: str) -> ServiceKeys:
        """Both keys of a service."""
        return self._connection.get(f"{self._path(name)}/keys", ServiceKeys)

    def regenerate_key(self, name: str, slot: KeySlot | str) -> ServiceKeys:
        """Replace a key, `primary` or `secondary`; the old one works until the gateway knows."""
        if slot not in set(KeySlot):
            raise InvalidRequest(
                f"a service has no key `{slot}`", hint="say `primary` or `secondary`"
            )
        path = f"{self._path(name)}/keys/{KeySlot(slot)}/regenerate"
        return parse(ServiceKeys, self._connection.request("POST", path))

    def token(self, name: str, *, lifetime: float | str = "1h") -> ServiceToken:
        """A token for a service whose `auth` is `token`.

        Args:
            name: Name of the service.
            lifetime: How long it is good for: seconds, or text such as `8h`; a minute to a week.

        Raises:
            Conflict: The service takes no tokens.
        """
        request = compose(AskToken, {"lifetime": lifetime}, "the token")
        path = f"{self._path(name)}/token"
        return self._connection.create("POST", path, request, ServiceToken, repeatable=False)

    def issue_certificate(
        self,
        name: str,
        client: str,
        file: StrPath,
        *,
        request: StrPath | None = None,
        lifetime: float | str = "90d",
    ) -> ClientCertificate:
        """Get a certificate for a caller of a service whose `auth` is `cert`.

        Args:
            name: Name of the service, the only one that lets it in.
            client: How the caller is called: lower-case letters, digits, `.`, `_`, `-`.
            file: A new file for the certificate. A key made here stands in front of it, and is sent
                nowhere; only you may read the file.
            request: File of a signing request (PEM) for a key that the caller has; then the
                certificate stands there alone.
            lifetime: How long it is good for: seconds, or text such as `8h`; a minute to a year.

        Raises:
            Conflict: There is such a file, or the workspace issues no certificates.
        """
        path = f"{self._path(name)}/certificates"
        return certificates.issue(self._connection, path, client, Path(file), request, lifetime)

    def certificates(self, name: str) -> tuple[ClientCertificate, ...]:
        """Certificates that the workspace has issued to callers of a service, latest first."""
        return certificates.issued(self._connection, f"{self._path(name)}/certificates")

    def revoke_certificate(self, name: str, which: str) -> tuple[ClientCertificate, ...]:
        """Let a certificate be good no more, also on connections that are open.

        Args:
            name: Name of the service.
            which: Its serial, or how a caller is called: then all that it has.

        Raises:
            NotFound: There is none.
        """
        return certificates.revoke(self._connection, f"{self._path(name)}/certificates", which)

    def credential(self, service: Service) -> str | None:
        """What callers of a service send as `Authorization: Bearer …`; None where all may score."""
        match service.settings.auth:
            case Authentication.KEY:
                return self.keys(service.name).primary
            case Authentication.TOKEN:
                return self.token(service.name).token
        return None

    def _path(self, reference: str) -> str:
        return service_path(reference)


def service_path(name: str) -> str:
    """Where a service is.

    Raises:
        InvalidRequest: This is not the name of one.
    """
    if not re.fullmatch(SERVICE_NAME_PATTERN, name):
        raise InvalidRequest(
            f"`{name[:200]}` is not the name of a service",
            hint="names are 3 to 32 lower-case letters, digits and dashes, beginning with a "
            "letter; `modelyard service list` shows those there are",
        )
    return f"/services/{name}"
