"""The program in the copy, verify, publish and prune pods; imports domain and contract, never Airflow."""
