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
    launcher_pid: int,
    no_new_privileges: bool,
    open_files_soft: int,
    open_files_hard: int,
    cgroup: int,
    /,
) -> tuple[int, object]:
    """Start the first of the candidates that can be executed; its pid, and the memory it needs until then.

    That is to be kept until the child has closed `status`. `descriptors` are what it has as 1, 2 and 3; one of -1 is
    left as it is, as is the cgroup. A launcher's pid of 0 has the program outlive it. A failure is written to `status`:
    the step, a line break, and what a report was given with the reason. Raises OSError, and ValueError for a null byte.
    """

def fork_away(cgroup: int, /) -> tuple[int, bool] | None:
    """Fork a grandchild, by way of a process in this cgroup that ends at once: outside with -1, or without `clone3`.

    There the pid of that process and whether it was in the cgroup; here None. The caller has one thread. Raises
    OSError; where the process between was killed there may be a grandchild all the same.
    """
