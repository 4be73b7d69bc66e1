"""A celery application whose broker and results are directories below the current one."""

import os
import sys
import time

import celery

for name in ("queue", "results"):
    os.makedirs(name, exist_ok=True)

app = celery.Celery("celery_app", broker="filesystem://", backend=f"file://{os.getcwd()}/results")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
app.conf.worker_redirect_stdouts = False


@app.task
def add(a, b):
    return a + b


@app.task
def slow_add(a, b):
    print("working", file=sys.stderr)
    time.sleep(1)
    return a + b
