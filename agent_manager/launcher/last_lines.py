"""The end of what a stream has carried, kept in memory: what a crashed program had to say."""

_LIMIT_BYTES = 2048


class LastLines:
    """The last lines written to one stream, at most 2 KiB of them."""

    def __init__(self) -> None:
        # One byte more than is shown: it tells whether the first line is whole.
        self._end = b""

    def add(self, data: bytes) -> None:
        """The stream goes on."""
        self._end = (self._end + data[-_LIMIT_BYTES - 1 :])[-_LIMIT_BYTES - 1 :]

    def to_json(self) -> list[str]:
        """The lines without their ends; bytes that are no UTF-8 are replaced.

        A line whose beginning is not known any more is left out, unless it is the only one.
        """
        kept = self._end[-_LIMIT_BYTES:]
        if len(self._end) > _LIMIT_BYTES:
            kept = self._end.partition(b"\n")[2] or kept
        lines = kept.removesuffix(b"\n").split(b"\n") if kept else []
        return [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines]
