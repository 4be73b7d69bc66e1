"""What gunicorn reads where it is started."""


def post_worker_init(worker):
    """The line "Booting worker" comes before a worker has its signal handlers, while a SIGTERM is still lost."""
    worker.log.info("Worker is ready")
