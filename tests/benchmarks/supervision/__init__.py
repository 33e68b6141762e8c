"""This project, supervisord and PM2 with the same agents, side by side: `python -m tests.benchmarks.supervision`."""
