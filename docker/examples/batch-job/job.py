"""A job that takes up its work where SIGTERM ended the last attempt.

As a Cloud Run job it does its share of the items: every CLOUD_RUN_TASK_COUNTth, from CLOUD_RUN_TASK_INDEX on.
"""

import os
import pathlib
import time

ITEMS = int(os.environ.get("ITEMS", "100"))
SECONDS = float(os.environ.get("SECONDS_PER_ITEM", "0.5"))
INDEX = int(os.environ.get("CLOUD_RUN_TASK_INDEX", "0"))
COUNT = int(os.environ.get("CLOUD_RUN_TASK_COUNT", "1"))
CHECKPOINT = pathlib.Path(os.environ.get("CHECKPOINT_DIR", "/tmp"), f"task-{INDEX}")


def load():
    try:
        return int(CHECKPOINT.read_text())
    except FileNotFoundError:
        return INDEX


def save(item):
    """All or nothing, also when SIGKILL comes in the middle."""
    new = CHECKPOINT.with_suffix(".new")
    new.write_text(str(item))
    new.replace(CHECKPOINT)


def main():
    item = load()
    print(f"job: task {INDEX} of {COUNT} begins at item {item}")
    try:
        while item < ITEMS:
            time.sleep(SECONDS)  # the work on one item; SIGTERM raises here
            item += COUNT
            if item // COUNT % 20 == 0:
                save(item)
    finally:
        save(item)
        print(f"job: task {INDEX} of {COUNT}: checkpoint at item {item}")
    print(f"job: task {INDEX} of {COUNT} is done")


if __name__ == "__main__":
    main()
