"""Tasks that wait for something: a release, a rollout."""
