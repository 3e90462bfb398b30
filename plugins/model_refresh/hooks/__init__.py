"""Adapters to the outside: each knows one thing (the bucket, the Deployment, the record of decisions)."""
