"""Children that share the memory of this process for a while, instead of copying it."""

def spawn(
    argv: tuple[bytes, ...],
    env: tuple[bytes, ...],
    candidates: tuple[bytes, ...],
    cwd: bytes,
    cwd_report: bytes,
    exec_report: bytes,
    descriptors: tuple[int, ...],
    status: int,
    parent_pid: int,
    no_new_privileges: bool,
    open_files_soft: int,
    open_files_hard: int,
    cgroup: int,
    /,
) -> tuple[int, object]:
    """Start the first of the candidates that can be executed; its pid, and the memory it needs until then.

    That is to be kept until all descriptors equal to `status` are closed. A descriptor of -1 is left as it is, as is
    the cgroup; a parent's pid of 0 has the program outlive it. On failure the child writes to `status`: a report is a
    step, a line break, and a reason. Raises OSError, and ValueError for a null byte.
    """

def fork_away(cgroup: int, /) -> int:
    """Fork a grandchild, by way of a process in this cgroup (-1: where this one is) that ends at once.

    In the grandchild the pid of that process, here 0. The caller has one thread. Raises OSError.
    """
