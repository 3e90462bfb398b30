"""Runs containerd and the kubelet: the one node of this checkout's cluster."""

from __future__ import annotations

import json
import time
from pathlib import Path

from sandbox import cgroups, network, pause
from sandbox.checkout import Checkout
from sandbox.errors import SandboxError
from sandbox.golang import program
from sandbox.http import answers
from sandbox.kubectl import kubectl
from sandbox.processes import Program, ensure_started, log_tail, wait_healthy
from sandbox.shell import output, succeeds

_READY_SECONDS = 60


def start_containerd(checkout: Checkout) -> None:
    """Starts containerd with root, state and socket of its own; a system containerd is neither used nor needed."""
    checkout.run.mkdir(mode=0o711, exist_ok=True)
    config = _containerd_config(checkout)
    file = checkout.state / "containerd.toml"
    file.write_text(config)
    server = Program(
        "containerd",
        ["containerd", "--config", file],
        is_healthy=lambda: succeeds("ctr", "--address", checkout.containerd_socket, "version"),
        depends_on=config,
    )
    ensure_started(checkout, server)
    wait_healthy(checkout, server)
    pause.ensure_imported(checkout)


def start_kubelet(checkout: Checkout) -> None:
    """Starts the kubelet and waits until the node is ready to run pods."""
    cgroups.make(checkout)
    root = _mount_kubelet_root(checkout)
    config = json.dumps(_kubelet_config(checkout), indent=1)
    file = checkout.state / "kubelet.json"
    file.write_text(config)
    server = Program(
        "kubelet",
        [
            program(checkout, "kubelet"),
            f"--config={file}",
            f"--kubeconfig={checkout.pki / 'kubelet.kubeconfig'}",
            f"--root-dir={root}",
            f"--hostname-override={checkout.node}",
            f"--node-ip={checkout.host}",
        ],
        is_healthy=lambda: answers(f"http://127.0.0.1:{checkout.port('kubelet_healthz')}/healthz"),
        depends_on=config,
    )
    ensure_started(checkout, server)
    wait_healthy(checkout, server)
    _wait_node_ready(checkout)


def _wait_node_ready(checkout: Checkout) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    path = "jsonpath={.status.conditions[?(@.type=='Ready')]['status','message']}"
    state = ""
    while time.monotonic() < deadline:
        state = kubectl(checkout, "get", "node", checkout.node, "--ignore-not-found", "-o", path)
        if state.startswith("True"):
            return
        time.sleep(0.3)
    raise SandboxError(
        f"the node is not ready after {_READY_SECONDS} s; it says: {state or 'nothing'}\n"
        f"{log_tail(checkout, 'kubelet')}"
    )


def _mount_kubelet_root(checkout: Checkout) -> Path:
    """Gives the kubelet's folder a short path, for the sockets in it, and a disk, for all else: /run is memory."""
    root = checkout.run / "kubelet"
    disk = checkout.state / "kubelet"
    root.mkdir(exist_ok=True)
    disk.mkdir(exist_ok=True)
    if not root.is_mount():
        output("mount", "--bind", disk, root)
    return root


def _kubelet_config(checkout: Checkout) -> dict[str, object]:
    pki = checkout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": checkout.host,
        "port": checkout.port("kubelet"),
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": checkout.port("kubelet_healthz"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-serving.key"),
        "containerRuntimeEndpoint": f"unix://{checkout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{checkout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": [],
        "podLogsDir": str(checkout.state / "pod-logs"),
        "volumePluginDir": str(checkout.state / "volume-plugins"),
        "makeIPTablesUtilChains": False,  # the machine's firewall is not ours
        "maxPods": 200,
        # The disk is the machine's: filling it is not for the kubelet to cure by deleting images or pods.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _containerd_config(checkout: Checkout) -> str:
    cni = network.write_cni_config(checkout)
    return f"""\
version = 2
root = "{checkout.state / "containerd"}"
state = "{checkout.run / "containerd"}"
[grpc]
address = "{checkout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause.IMAGE}"
# Without CAP_SYS_RESOURCE runc dies with "can't get final child's PID from pipe: EOF".
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{network.CNI_PLUGINS}"
conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
