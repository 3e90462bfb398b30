"""No path of one model touches another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.manifest import RECEIPT_NAME

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
release_ids = st.from_regex(r"[a-z0-9.]{1,10}-[0-9a-f]{12}", fullmatch=True)


def paths(model, release_id, shard):
    layout = ModelLayout(model)
    arrival = layout.arrival(release_id)
    return {
        "releases": layout.releases,
        "trash": layout.trash,
        "incoming": layout.incoming,
        "release": layout.release(release_id),
        "receipt": layout.receipt(release_id),
        "arrival": arrival.root,
        "plan": arrival.plan,
        "lock": arrival.lock,
        "heartbeat": arrival.heartbeat,
        "tree": arrival.tree,
        "ledgers": arrival.ledgers,
        "ledger": arrival.ledger(shard),
        "partial": arrival.partial(shard),
    }


@given(names, release_ids, st.integers(min_value=0, max_value=63))
def test_every_path_is_relative_its_own_and_below_the_models_folder(model, release_id, shard):
    made = paths(model, release_id, shard)
    assert len(set(made.values())) == len(made)
    for path in made.values():
        assert path.parts[0] == model
        assert len(path.parts) > 1
        assert ".." not in path.parts
        assert not path.is_absolute()


@given(names, release_ids)
def test_what_arrives_is_apart_from_what_is_published_and_renamed_within_the_model(model, release_id):
    layout = ModelLayout(model)
    arrival = layout.arrival(release_id)
    assert not arrival.tree.is_relative_to(layout.releases)
    # The loader's own files lie beside the tree, so that no object's name can meet them.
    assert not any(
        own.is_relative_to(arrival.tree)
        for own in (arrival.plan, arrival.lock, arrival.heartbeat, arrival.ledgers, arrival.partial(0))
    )
    assert layout.receipt(release_id) == layout.release(release_id) / RECEIPT_NAME


def test_shards_share_neither_ledger_nor_partial_files():
    arrival = ModelLayout("llama").arrival("v1")
    assert len({arrival.ledger(shard) for shard in range(64)} | {arrival.partial(shard) for shard in range(64)}) == 128
