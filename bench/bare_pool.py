"""The work of W10 in a bare pool of greenlets, without any engine: prints the requests per second."""

import sys
import time

import requests
from gevent.pool import Pool


def main(address: str, count: int, slots: int) -> None:
    pool = Pool(slots)
    began = time.monotonic()
    for _ in range(count):
        pool.spawn(requests.get, address, timeout=30)
    pool.join()
    print(count / (time.monotonic() - began))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
