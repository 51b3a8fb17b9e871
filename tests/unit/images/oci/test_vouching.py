"""Whose signature an image keeps that comes in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.factories import KEY, digest_of

from modelyard.errors import IntegrityError
from modelyard.images.oci.attachments import SIGNATURE, Attachment, attachments
from modelyard.images.oci.vouching import Vouched, vouching
from modelyard.images.signing import SigningKey, TrustedKeys

IMAGE = digest_of("image")
SBOM = b"{}"
SIGNED = KEY.sign(IMAGE, f"sha256:{hashlib.sha256(SBOM).hexdigest()}")
GOOD = attachments(IMAGE, SIGNED, SBOM)
STRANGER = attachments(IMAGE, SigningKey.generate().sign(IMAGE), None)
OF_ANOTHER = attachments(digest_of("other"), KEY.sign(digest_of("other")), None)


def forged() -> Attachment:
    """In the name of the trusted key, with a signature of somebody else's."""
    document = json.loads(GOOD[0].content)
    document["signature"] = json.loads(STRANGER[0].content)["signature"]
    return Attachment(SIGNATURE, json.dumps(document).encode(), {})


@pytest.fixture
def trusted(tmp_path: Path) -> TrustedKeys:
    keys = TrustedKeys(tmp_path)
    keys.add(KEY.public)
    return keys


def test_that_of_a_trusted_key_with_its_sbom(trusted: TrustedKeys) -> None:
    assert vouching(IMAGE, GOOD, trusted) == Vouched(SIGNED, SBOM)
    assert vouching(IMAGE, (*STRANGER, *GOOD[::-1]), trusted) == Vouched(SIGNED, SBOM)


def test_none_of_others_nor_for_another_image(trusted: TrustedKeys) -> None:
    assert vouching(IMAGE, (), trusted) is None
    assert vouching(IMAGE, (*STRANGER, *OF_ANOTHER), trusted) is None


def test_none_without_the_sbom_that_it_is_over(trusted: TrustedKeys) -> None:
    assert vouching(IMAGE, GOOD[:1], trusted) is None
    other = attachments(IMAGE, None, b"[]")
    assert vouching(IMAGE, (*GOOD[:1], *other), trusted) is None


@pytest.mark.parametrize("bad", [forged(), Attachment(SIGNATURE, b"nonsense", {})])
def test_what_claims_to_be_one_is_refused_unless_there_is_a_good_one(
    trusted: TrustedKeys, bad: Attachment
) -> None:
    with pytest.raises(IntegrityError):
        vouching(IMAGE, (bad, *GOOD[1:]), trusted)
    assert vouching(IMAGE, (bad, *GOOD), trusted) == Vouched(SIGNED, SBOM)
