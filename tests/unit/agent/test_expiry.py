from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.agent.expiry import ExpiryWatch, watch_certificate, watch_clients
from modelyard.agent.gateway.config import Certificate, ClientFiles
from modelyard.control.authority import LIFE, Authority

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.renew(("localhost",), NOW)
    return authority


@pytest.fixture
def watch(authority: Authority) -> ExpiryWatch:
    chain, key = authority.gateway_certificate, authority.gateway_key
    (watch,) = watch_certificate(Certificate(str(chain), str(key)))
    return watch


def test_there_is_nothing_to_say_without_a_certificate() -> None:
    assert watch_certificate(None) == ()
    assert watch_clients(None) == ()


@pytest.mark.parametrize(
    ("left", "said"),
    [(30, "30 days"), (8, "30 days"), (7, "7 days"), (1, "1 day:"), (-1, "has ended")],
)
def test_the_end_is_told_in_steps(watch: ExpiryWatch, left: int, said: str) -> None:
    notice = watch.notice(NOW + LIFE - timedelta(days=left))
    assert notice is not None
    assert said in notice.message
    assert f"{NOW + LIFE:%Y-%m-%d}" in notice.message


def test_there_is_nothing_to_say_while_there_is_time(watch: ExpiryWatch) -> None:
    assert watch.notice(NOW + LIFE - timedelta(days=31)) is None


def test_a_renewed_certificate_ends_the_notice(watch: ExpiryWatch, authority: Authority) -> None:
    later = NOW + LIFE - timedelta(days=2)
    assert watch.notice(later) is not None
    assert authority.renew(("localhost",), later)
    assert watch.notice(later) is None


def test_a_file_that_is_gone_or_damaged_changes_nothing(
    watch: ExpiryWatch, authority: Authority
) -> None:
    later = NOW + LIFE - timedelta(days=2)
    before = watch.notice(later)
    authority.gateway_certificate.write_bytes(b"half")
    assert watch.notice(later) == before
    authority.gateway_certificate.unlink()
    assert watch.notice(later) == before


def test_lists_of_revoked_ones_and_authorities_end_too(authority: Authority) -> None:
    files = ClientFiles(str(authority.certificate), str(authority.revoked))
    own, revoked = watch_clients(files)
    later = NOW + LIFE - timedelta(days=5)
    notice = revoked.notice(later)
    assert notice is not None
    assert "A list of revoked client certificates ends within 7 days" in notice.message
    assert own.notice(later) is None
    authority.ensure(later)
    assert revoked.notice(later) is None
    assert own.notice(NOW + timedelta(days=3645)) is not None
    assert len(watch_clients(ClientFiles(files.authorities))) == 1
