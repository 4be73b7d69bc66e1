import os

bind = f":{os.environ.get('PORT', '8080')}"
# Under pyentry cpu_count() is what the container may use, not what the machine has.
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count())
threads = 4
# gunicorn's heartbeat file: in memory, and there on a read-only file system, too.
worker_tmp_dir = "/dev/shm"
# Within the ten seconds of `docker stop` and Cloud Run.
graceful_timeout = 8
