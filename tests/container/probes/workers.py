"""Four processes print into one log as fast as they can: workers.py LINES"""

import multiprocessing
import sys


def work(number, lines):
    for line in range(lines):
        # Up to PIPE_BUF, the newline included, is what a pipe takes in one piece.
        print("worker", number, "line", line, str(number) * (line * 37 % 4000), "end")


if __name__ == "__main__":
    workers = [multiprocessing.Process(target=work, args=(number, int(sys.argv[1]))) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print("all done")
