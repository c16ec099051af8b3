"""The benches are scripts, run by `test_benches.py` in processes of their own: no pytest imports them."""

collect_ignore_glob = ["bench_*.py", "run.py", "tables.py", "variants.py"]
