"""Runs that processes of tests find here: with them comes nothing that takes long to import."""

import os
import signal
import time


def inverse(x):
    return 1 / x


def whose(_):
    return os.getpid()


def odd(_):
    class Odd(Exception):
        """What no other process can make."""

    raise Odd("no way")


def dies(k):
    """The third kills its process, while the second is under way."""
    if k == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30 if k == 2 else 0)
    return k
