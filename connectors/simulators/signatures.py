"""RSA signatures, and what of a call's target they cover, for the simulators that need them."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectors.simulators.wire import Call


def read_public_key(pem: str) -> rsa.RSAPublicKey:
    """An RSA public key; raises ValueError for another kind."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


@lru_cache(maxsize=64)  # checking a key costs as much as fifty signatures
def read_private_key(pem: str) -> rsa.RSAPrivateKey:
    """An RSA private key; raises ValueError for another kind."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def sign_sha256(key: rsa.RSAPrivateKey, message: bytes) -> str:
    """SHA256withRSA (PKCS 1 v1.5), base64."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def is_sha256_signed(key: rsa.RSAPublicKey, message: bytes, signature: str) -> bool:
    """Whether a base64 signature holds for a message."""
    try:
        raw = base64.b64decode(signature, validate=True)
        key.verify(raw, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def signed_targets(call: Call) -> tuple[str, ...]:
    """What a client may have signed as path and query: the target as sent, and the same without
    the prefix under which this host happens to serve the platform."""
    if not call.raw_target:
        return (call.path,)
    whole = call.raw_target
    path, mark, query = whole.partition("?")
    # call.path is decoded, the target is not: the prefix is what the target has more in parts.
    depth = path.count("/") - call.path.count("/")
    below = "/" + "/".join(path.split("/")[depth + 1 :]) + mark + query
    return (whole, below) if depth > 0 else (whole,)
