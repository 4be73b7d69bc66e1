"""A Celery application with one task. It has as many workers as the container has CPUs."""

import os
import time

from celery import Celery

url = os.environ.get("REDIS_URL", "redis://redis:6379/0")
app = Celery("tasks", broker=url, backend=url)
# A task counts as done when it is: one that SIGKILL cut off is given to another worker.
app.conf.task_acks_late = True


@app.task
def work(seconds):
    print(f"celery: working for {seconds:g} s")
    time.sleep(seconds)
    return seconds
