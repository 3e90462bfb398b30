"""Runs etcd, the API server, the controller manager and the scheduler of this checkout's cluster."""

from __future__ import annotations

from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.golang import program
from sandbox.http import answers
from sandbox.processes import Program, ensure_started, wait_healthy


def start(checkout: Checkout) -> None:
    """Starts what does not run; returns when all of it answers."""
    for server in (_etcd(checkout), _apiserver(checkout)):
        ensure_started(checkout, server)
        wait_healthy(checkout, server)
    managers = (_controller_manager(checkout), _scheduler(checkout))
    for server in managers:
        ensure_started(checkout, server)
    for server in managers:
        wait_healthy(checkout, server)


def _etcd(checkout: Checkout) -> Program:
    client = f"http://127.0.0.1:{checkout.port('etcd')}"
    peer = f"http://127.0.0.1:{checkout.port('etcd_peer')}"
    command: list[str | Path] = [
        program(checkout, "etcd"),
        f"--data-dir={checkout.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # a sandbox may lose its last second when the machine dies
        "--log-level=warn",
    ]
    return Program("etcd", command, lambda: answers(f"{client}/health"))


def _apiserver(checkout: Checkout) -> Program:
    pki = checkout.pki
    command: list[str | Path] = [
        program(checkout, "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{checkout.port('etcd')}",
        f"--bind-address={checkout.host}",
        f"--advertise-address={checkout.host}",
        f"--secure-port={checkout.port('apiserver')}",
        f"--service-cluster-ip-range={checkout.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",  # nothing resolves the node's name
    ]
    url = f"{checkout.apiserver_url}/readyz"
    return Program("kube-apiserver", command, lambda: answers(url, ca=pki / "ca.crt"), stop_seconds=20)


def _controller_manager(checkout: Checkout) -> Program:
    pki = checkout.pki
    return _manager(
        checkout,
        "controller-manager",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials=true",
    )


def _scheduler(checkout: Checkout) -> Program:
    return _manager(checkout, "scheduler")


def _manager(checkout: Checkout, role: str, *more: str) -> Program:
    port = checkout.port(role.replace("-", "_"))
    ca = checkout.pki / "ca.crt"
    command: list[str | Path] = [
        program(checkout, f"kube-{role}"),
        f"--kubeconfig={checkout.pki / f'{role}.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={checkout.pki / f'{role}.crt'}",
        f"--tls-private-key-file={checkout.pki / f'{role}.key'}",
        "--leader-elect=false",  # there is only one; waiting for a lease costs seconds
        *more,
    ]
    return Program(f"kube-{role}", command, lambda: answers(f"https://127.0.0.1:{port}/healthz", ca=ca))
