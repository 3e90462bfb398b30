"""Brings everything up in the right order, and says what is up."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from sandbox import (
    airflow,
    bucket,
    control_plane,
    debian,
    environment,
    golang,
    loader_image,
    network,
    node,
    objects,
    pki,
    processes,
)
from sandbox.checkout import Checkout
from sandbox.loader_image import LoaderImage
from sandbox.progress import say, step
from sandbox.teardown import ORDER


def up(checkout: Checkout) -> None:
    """Leaves a running sandbox; what runs already, with the same settings, is left alone."""
    debian.install_packages()
    image = loader_image.describe(checkout)
    with ThreadPoolExecutor(max_workers=2) as pool:
        # The two slow things of a first time: one keeps the processors busy, the other mostly the disk.
        go = pool.submit(golang.build_all, checkout)
        building = pool.submit(loader_image.ensure_built, checkout, image)
        go.result()
        _start_cluster(checkout)
        # Airflow takes its time to start, and needs the image's name only.
        importing = pool.submit(_import_when_built, building, checkout, image)
        with step("airflow"):
            airflow.start(checkout, image)
        importing.result()
    environment.write(checkout, image)
    say(f"up. Airflow: {checkout.airflow_url} (admin/admin, alice/alice, bob/bob); `. .sandbox/env` for the rest")


def _import_when_built(building: Future[None], checkout: Checkout, image: LoaderImage) -> None:
    building.result()
    loader_image.ensure_imported(checkout, image)


def _start_cluster(checkout: Checkout) -> None:
    with step("cluster and bucket"):
        pki.make_all(checkout)
        network.make_bridge(checkout)
        node.start_containerd(checkout)
        bucket.start(checkout)
        control_plane.start(checkout)
        node.start_kubelet(checkout)
        objects.apply_all(checkout)
        objects.write_airflow_kubeconfig(checkout)


def print_status(checkout: Checkout) -> None:
    """Prints a line for each program of the sandbox."""
    for name in reversed(ORDER):
        print(f"{name:24} {'running' if processes.is_running(checkout, name) else 'not running'}")


def print_environment(checkout: Checkout) -> None:
    """Prints the shell exports."""
    environment.read(checkout)  # says what to do when there are none
    print(environment.file_of(checkout).read_text(), end="")
