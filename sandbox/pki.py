"""Makes the certificates and kubeconfigs with which the parts of the cluster, and people, prove who they are."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.checkout import Checkout

_LIFETIME = dt.timedelta(days=3650)


@dataclass(frozen=True)
class Identity:
    """A certificate to be: Kubernetes takes the user from the common name and the groups from the organisation."""

    file: str
    common_name: str
    organisation: str = ""
    addresses: Sequence[str] = ()
    names: Sequence[str] = ()


def make_all(checkout: Checkout) -> None:
    """Writes what is missing; what is there is kept, since running programs hold it."""
    checkout.pki.mkdir(parents=True, exist_ok=True)
    checkout.pki.chmod(0o700)
    _make_service_account_key(checkout.pki)
    ca_key, ca = _certificate_authority(checkout.pki)
    for identity in _identities(checkout):
        if not (checkout.pki / f"{identity.file}.crt").exists():
            _issue(checkout.pki, identity, ca_key, ca)
    write_kubeconfig(checkout, checkout.admin_kubeconfig, client="admin")
    for client in ("controller-manager", "scheduler", "kubelet"):
        write_kubeconfig(checkout, checkout.pki / f"{client}.kubeconfig", client=client)


def write_kubeconfig(checkout: Checkout, file: Path, *, client: str = "", token: str = "") -> None:
    """Writes a kubeconfig, readable by its owner only, that names itself by certificate or by token."""
    user = {"token": token} if token else _client_certificate(checkout.pki, client)
    cluster = {
        "server": checkout.apiserver_url,
        "certificate-authority-data": _base64(checkout.pki / "ca.crt"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "user", "namespace": "models"}}],
        "current-context": "sandbox",
    }
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(config, indent=1))  # JSON is YAML
    part.rename(file)


def _identities(checkout: Checkout) -> list[Identity]:
    return [
        Identity(
            "apiserver",
            "kube-apiserver",
            addresses=[checkout.host, "127.0.0.1", str(checkout.services[1])],
            names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
        ),
        Identity("apiserver-kubelet", "apiserver-kubelet", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager", addresses=["127.0.0.1"]),
        Identity("scheduler", "system:kube-scheduler", addresses=["127.0.0.1"]),
        Identity("kubelet", f"system:node:{checkout.node}", "system:nodes"),
        Identity("kubelet-serving", checkout.node, addresses=[checkout.host], names=[checkout.node]),
        Identity("admin", "sandbox-admin", "system:masters"),
    ]


def _certificate_authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    if not (folder / "ca.crt").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("model-refresh-sandbox", "")
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        _write_key(folder / "ca.key", key)
        _write_certificate(folder / "ca.crt", builder.sign(key, hashes.SHA256()))
    loaded = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded, x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())


def _issue(folder: Path, identity: Identity, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    alternatives: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(a)) for a in identity.addresses]
    alternatives += [x509.DNSName(name) for name in identity.names]
    builder = _builder(_name(identity.common_name, identity.organisation), ca.subject, key)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    _write_key(folder / f"{identity.file}.key", key)
    _write_certificate(folder / f"{identity.file}.crt", builder.sign(ca_key, hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
    )


def _name(common_name: str, organisation: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _make_service_account_key(folder: Path) -> None:
    if (folder / "service-account.pub").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "service-account.key", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "service-account.pub").write_bytes(public)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _write_certificate(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _client_certificate(folder: Path, client: str) -> dict[str, str]:
    return {
        "client-certificate-data": _base64(folder / f"{client}.crt"),
        "client-key-data": _base64(folder / f"{client}.key"),
    }


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
