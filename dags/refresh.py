"""# Refresh a model

Brings a new release of a model from Cloud Storage onto the volume in the cluster and, when a person says yes,
makes the Deployment serve it.

1. **wait_for_release** looks for the newest complete release that nobody has decided about.
2. **plan_copy** pins it, finds what the volume already holds, checks the space, and splits the rest.
3. **copy_shard** copies each part in a pod of its own; **verify_shard** reads every byte back from the volume.
4. **publish_release** checks formats and safety and makes the release read-only.
5. **gather_evidence** and **approve_release** ask a person.
6. **promote_release** points the Deployment at it, **watch_rollout** waits until every replica serves it;
   **roll_back** returns to the release before when either fails.
7. **prune_releases** deletes what retention no longer keeps; **record** emits the asset event.

A release that was rejected or rolled back is not offered again by itself; name it in the parameter `release` to try it
once more. A failed task says what happened, where, and what to do. Starting the DAG again is always safe: what is
proven on the volume is not copied again.
"""

# Airflow parses only files that hold both of the words "airflow" and "dag" (its safe mode).
from model_refresh.building import build_dags
from model_refresh.fleet import load_fleet
from model_refresh.flows.refresh import refresh_dag
from model_refresh.settings import get_settings

settings = get_settings()
fleet = load_fleet(*settings.models_folders, namespace=settings.namespace)
# What cannot be built is told by check_fleet.py.
for dag in build_dags(fleet.models.values(), refresh_dag, doc_md=__doc__)[0]:
    globals()[dag.dag_id] = dag
