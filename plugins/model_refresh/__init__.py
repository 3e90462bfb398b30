"""Keeps large models on a volume in the cluster and refreshes them; see docs/design in the README."""
