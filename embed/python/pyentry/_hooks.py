"""What a program says about its snapshot: nothing happens where none is taken."""

before = []  # called in the reverse order
after = []   # called in this order

take = None  # what checkpoint calls where a snapshot is being taken


def before_snapshot(function):
    """Have function() called before a snapshot is taken; return it, so that this can decorate.

    The function that was given last is called first.
    """
    before.append(function)
    return function


def after_restore(function):
    """Have function() called in every process that starts from a snapshot, before the program; return it.

    The functions are called in the order in which they were given. An exception ends the start.
    """
    after.append(function)
    return function


def checkpoint():
    """Take the snapshot here, where pyentry --snapshot runs this program; do nothing anywhere else.

    A start from it runs the program from its beginning, with every module that is imported by now in place.
    """
    if take is not None:
        take()
