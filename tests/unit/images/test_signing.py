"""Keys in files, signatures over digests, and who is trusted."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from modelyard.domain.cause import CauseCode
from modelyard.domain.signature import Signature, statement
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.signing import SigningKey, TrustedKeys, is_valid, parse_public_key

IMAGE = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def trusted(tmp_path: Path, key: SigningKey) -> TrustedKeys:
    keys = TrustedKeys(tmp_path / "trusted")
    keys.add(key.public)
    return keys


class TestStatement:
    def test_is_canonical_json_that_names_image_and_key(self) -> None:
        said = statement(IMAGE, OTHER)
        assert said == (
            b'{"image":"' + IMAGE.encode() + b'","key":"' + OTHER.encode() + b'",'
            b'"type":"io.modelyard.image.signature.v1"}'
        )
        assert json.dumps(json.loads(said), sort_keys=True, separators=(",", ":")).encode() == said


class TestSigningKey:
    def test_is_kept_for_its_owner_alone(self, tmp_path: Path, key: SigningKey) -> None:
        path = tmp_path / "signing" / "default.pem"
        key.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert list(path.parent.iterdir()) == [path]
        again = SigningKey.load(path)
        assert again is not None
        assert again.public == key.public
        assert again.sign(IMAGE) == key.sign(IMAGE)

    def test_is_none_where_there_is_no_file(self, tmp_path: Path) -> None:
        assert SigningKey.load(tmp_path / "default.pem") is None

    @pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\n"])
    def test_a_file_with_something_else_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "default.pem"
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="not a private ed25519 key"):
            SigningKey.load(path)

    def test_another_kind_of_key_is_refused(self, tmp_path: Path) -> None:
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = tmp_path / "default.pem"
        path.write_bytes(
            other.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        with pytest.raises(IntegrityError):
            SigningKey.load(path)

    def test_is_shown_by_nothing(self, key: SigningKey) -> None:
        assert "PRIVATE" not in f"{key!r} {key.public!r} {key.sign(IMAGE)!r}"


class TestSignature:
    def test_is_checked_by_the_library_alone(self, key: SigningKey) -> None:
        """Whoever has the public key and the documented statement needs nothing of ours."""
        public = serialization.load_pem_public_key(key.public.pem.encode())
        assert isinstance(public, ed25519.Ed25519PublicKey)
        made = key.sign(IMAGE)
        public.verify(base64.b64decode(made.value), statement(IMAGE, key.public.id))

    def test_is_valid_for_its_image_and_key_only(self, key: SigningKey) -> None:
        made = key.sign(IMAGE)
        assert is_valid(IMAGE, made, key.public)
        assert not is_valid(OTHER, made, key.public)
        assert not is_valid(IMAGE, made, SigningKey.generate().public)

    @pytest.mark.parametrize("value", ["", "no base64!", "AAAA", "A" * 88, "é" * 88])
    def test_nonsense_is_not_valid(self, key: SigningKey, value: str) -> None:
        assert not is_valid(IMAGE, Signature(key=key.public.id, value=value), key.public)


class TestTrustedKeys:
    def test_what_a_trusted_key_signed_is_started(
        self, trusted: TrustedKeys, key: SigningKey
    ) -> None:
        assert trusted.why_refused(IMAGE, key.sign(IMAGE)) is None

    def test_nothing_is_trusted_where_there_is_no_folder(
        self, tmp_path: Path, key: SigningKey
    ) -> None:
        refused = TrustedKeys(tmp_path / "nowhere").why_refused(IMAGE, key.sign(IMAGE))
        assert refused is not None
        assert refused.code is CauseCode.SIGNATURE_INVALID

    def test_a_signature_under_the_name_of_a_trusted_key_is_refused(
        self, trusted: TrustedKeys, key: SigningKey
    ) -> None:
        forged = SigningKey.generate().sign(IMAGE).model_copy(update={"key": key.public.id})
        refused = trusted.why_refused(IMAGE, forged)
        assert refused is not None
        assert "not what its signature was made for" in refused.message

    def test_files_that_are_no_keys_trust_nobody_and_harm_nobody(
        self, tmp_path: Path, trusted: TrustedKeys, key: SigningKey
    ) -> None:
        (tmp_path / "trusted" / "folder.pem").mkdir()
        (tmp_path / "trusted" / "0.pem").write_bytes(b"\xff" * 10_000)
        (tmp_path / "trusted" / "1.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n")
        assert trusted.why_refused(IMAGE, key.sign(IMAGE)) is None
        assert trusted.why_refused(IMAGE, SigningKey.generate().sign(IMAGE)) is not None

    def test_a_key_that_is_taken_away_is_not_trusted_any_longer(
        self, tmp_path: Path, trusted: TrustedKeys, key: SigningKey
    ) -> None:
        for path in (tmp_path / "trusted").iterdir():
            path.unlink()
        assert trusted.why_refused(IMAGE, key.sign(IMAGE)) is not None


class TestParsePublicKey:
    def test_reads_what_is_printed(self, key: SigningKey) -> None:
        assert parse_public_key(key.public.pem.encode()) == key.public

    def test_a_private_key_is_no_public_key(self, tmp_path: Path, key: SigningKey) -> None:
        key.save(tmp_path / "key.pem")
        with pytest.raises(InvalidRequest):
            parse_public_key((tmp_path / "key.pem").read_bytes())
