"""Gives one checkout a Kubernetes cluster, a bucket and an Airflow on this machine, so that everything can be tried."""
