"""Multi-volume zips read in place: members are inflated straight from the volumes, nothing is extracted.

An archive is a row of segments, one for each volume that its directory counts from 0; a member begins at an offset
within one and may run on into the next ones. For the usual set a segment is a file. When all volumes were
concatenated into one `.zip`, the directory still counts volumes; their borders are then found again from the members
themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from shard_tools.errors import UnreadableImageError
from shard_tools.names import IMAGE_SUFFIXES, is_system_file
from shard_tools.sources import zip_directory as zd
from shard_tools.sources.base import ContainerListing, FolderListing
from shard_tools.sources.instead import remedy
from shard_tools.sources.volumes import VolumeSet
from shard_tools.sources.zip_reader import OFFSET_BITS, Segment, ZipReader

_DESCRIPTOR = 24  # the longest record that may follow a member's data


@dataclass(frozen=True)
class ZipContainer:
    name: str  # path of the `.zip` within SRC
    segments: tuple[Segment, ...]
    listing: ContainerListing = field(compare=False, repr=False, default_factory=ContainerListing)

    @property
    def prefix(self) -> str:
        return self.name + ":"

    @property
    def folders(self) -> tuple[str, ...]:
        # An archive's own name speaks like a folder's.
        above, _, name = self.name.rpartition("/")
        return (*(above.split("/") if above else ()), name.rsplit(".", 1)[0])

    def contents(self) -> ContainerListing:
        return self.listing

    @property
    def sequential(self) -> None:
        return None

    def reader(self) -> ZipReader:
        return ZipReader(self.segments)

    def __getstate__(self) -> dict[str, object]:
        # Workers read by Location and need no listing.
        return {"name": self.name, "segments": self.segments, "listing": ContainerListing()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


def open_volumes(folder: str, path: str, volumes: VolumeSet, bytes_of: dict[str, int]) -> ZipContainer:
    """Open the archive of a volume set in `folder` (absolute or an address) and list it.

    `path` is the folder within SRC, `bytes_of` the size of each of its files.

    What is wrong with the set is in the listing: `incomplete` names every missing or empty volume.
    """
    listing = ContainerListing()
    last, between = _last_volume(folder, volumes, bytes_of, listing)
    name = "/".join(part for part in (path, last[0] if last else volumes.stem + ".zip") if part)
    if last is None:
        missing = volumes.slice_name(volumes.first) if volumes.slices else volumes.stem + ".zip"
        listing.incomplete.append(
            f"{_join(folder, missing)} is missing or empty: it is the volume with the archive's directory; "
            "download it again"
        )
        return ZipContainer(name, (), listing)
    try:
        whole = _one_piece(folder, volumes, last, between, listing)
        members, segments = whole or _members(_segments(folder, volumes, last, between, listing))
    except (zd.ZipDamageError, UnreadableImageError) as error:
        if not listing.incomplete:
            path = _join(folder, last[0])
            listing.incomplete.append(f"{path}: {error}; {remedy(path)}")
        return ZipContainer(name, (), listing)
    _check_borders(segments, members, listing)
    total, room = sum(member.stored for member in members), sum(segment.size for segment in segments)
    if total > room and all(segment.path for segment in segments):
        listing.incomplete.append(
            f"{_join(folder, last[0])}: its members claim {total} bytes of an archive of {room}: they overlap, so it "
            "is damaged or a zip bomb; leave it out, or download it again"
        )
        return ZipContainer(name, (), listing)
    _fill(listing, members, segments, _join(folder, last[0]))
    return ZipContainer(name, tuple(segments), listing)


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _choose(
    folder: str, names: list[str], bytes_of: dict[str, int], listing: ContainerListing
) -> tuple[str, int] | None:
    """(file, bytes) of a volume of which there may be several copies: the largest; None when all are empty."""
    sizes = sorted(((bytes_of[name], name) for name in names), key=lambda s: (-s[0], s[1]))
    if len(sizes) > 1:
        others = ", ".join(name for _, name in sizes[1:])
        listing.problems.append(f"{_join(folder, sizes[0][1])} is there more than once; {others} is not read")
    return (sizes[0][1], sizes[0][0]) if sizes and sizes[0][0] else None


def _last_volume(
    folder: str, volumes: VolumeSet, bytes_of: dict[str, int], listing: ContainerListing
) -> tuple[tuple[str, int] | None, list[tuple[str, int] | None]]:
    """The volume with the end record, and the numbered ones in order, None where there is none."""
    numbered = volumes.slices or volumes.parts
    numbers = range(volumes.first, max(numbered, default=0) + 1)
    found = [_choose(folder, numbered.get(number, []), bytes_of, listing) for number in numbers]
    if volumes.slices:
        return (found[-1], found[:-1]) if found else (None, [])
    return _choose(folder, volumes.last, bytes_of, listing), found


def _one_piece(
    folder: str,
    volumes: VolumeSet,
    last: tuple[str, int],
    between: list[tuple[str, int] | None],
    listing: ContainerListing,
) -> tuple[list[zd.Member], list[Segment]] | None:
    """The archive if it is whole in its `.zip` although numbered volumes lie beside it: those that it was put together
    from. None when it is not. No last volume of a set is larger than the others.
    """
    if not volumes.parts or last[1] <= max((file[1] for file in between if file), default=0):
        return None
    try:
        found = _members([Segment(_join(folder, last[0]), 0, last[1], last[0])])
    except (zd.ZipDamageError, UnreadableImageError):
        return None
    listing.problems.append(
        f"{_join(folder, last[0])} holds the whole archive; the numbered volumes beside it are not read"
    )
    return found


def _segments(
    folder: str,
    volumes: VolumeSet,
    last: tuple[str, int],
    between: list[tuple[str, int] | None],
    listing: ContainerListing,
) -> list[Segment]:
    """The row of volumes. Raises ZipDamageError when the last one has no end record."""
    files = [
        Segment(_join(folder, file[0]), 0, file[1], file[0]) if file else Segment(None, 0, 0, _label(volumes, number))
        for number, file in enumerate(between, volumes.first)
    ]
    files.append(Segment(_join(folder, last[0]), 0, last[1], last[0]))
    if volumes.slices:
        return _sliced(files, folder, listing)
    end = _end(files)
    if not volumes.parts:
        return files  # one file: whole, or concatenated volumes; _members finds out which
    for number in range(len(files), end.disk + 1):
        files.insert(number - 1, Segment(None, 0, 0, _label(volumes, number - 1 + volumes.first)))
    for segment in files:
        if segment.path is None:
            listing.incomplete.append(
                f"{_join(folder, segment.label)} is missing or empty: it is one of {len(files)} volumes of this "
                "archive; download it again"
            )
    return files


def _label(volumes: VolumeSet, number: int) -> str:
    names = (volumes.slices or volumes.parts).get(number)
    if names:
        return names[0]
    return volumes.slice_name(number) if volumes.slices else f"{volumes.stem}.z{number:02d}"


def _sliced(files: list[Segment], folder: str, listing: ContainerListing) -> list[Segment]:
    """`.zip.001, .zip.002, ...` are one plain archive cut into pieces; its directory knows nothing of them."""
    missing = [segment for segment in files if segment.path is None]
    for segment in missing:
        listing.incomplete.append(f"{_join(folder, segment.label)} is missing or empty: download it again")
    if missing:
        raise zd.ZipDamageError("volumes are missing")
    return files


def _end(segments: list[Segment]) -> zd.End:
    reader = ZipReader(segments)
    try:
        last = segments[-1]
        tail_at = max(0, last.size - zd.TAIL_BYTES)
        tail = reader.read_raw(len(segments) - 1, tail_at, last.size - tail_at)
        return zd.find_end(tail, tail_at, reader.read_raw)
    finally:
        reader.close()


def _members(segments: list[Segment]) -> tuple[list[zd.Member], list[Segment]]:
    """Read the directory; returns it and the segments it counts by, which differ from the files for one-piece
    archives.
    """
    end = _end(segments)
    one_piece = len(segments) == 1 or end.disk == 0
    reader = ZipReader(segments)
    try:
        if one_piece:
            # The directory ends where the end records begin, wherever its own offset points to.
            begin = sum(segment.size for segment in segments[:-1]) + end.record_at - end.directory_size
            if begin < 0:
                raise zd.ZipDamageError("its directory is longer than the file")
            directory = reader.read_raw(*_at(segments, begin), end.directory_size)
            members = list(zd.read_members(directory, end))
            if end.disk == 0:
                shift = begin - end.directory_offset
                wrapped = end.locator is None and shift % (1 << 32) == 0  # without ZIP64 its offset is modulo 2^32
                return members, segments if wrapped else _shifted(segments, shift)
            return members, _concatenated(segments[0], reader, members, end, begin)
        if end.directory_size > sum(segment.size for segment in segments[end.directory_disk :]):
            raise zd.ZipDamageError("its directory is longer than the volumes that should hold it")
        directory = reader.read_raw(end.directory_disk, end.directory_offset, end.directory_size)
        return list(zd.read_members(directory, end)), segments
    finally:
        reader.close()


def _at(segments: list[Segment], position: int) -> tuple[int, int]:
    for number, segment in enumerate(segments):
        if position < segment.size:
            return number, position
        position -= segment.size
    return len(segments), 0


def _shifted(segments: list[Segment], shift: int) -> list[Segment]:
    """Something may stand before an archive of one volume; all its offsets are then too small by as much."""
    if shift > 0 and len(segments) == 1:
        only = segments[0]
        return [Segment(only.path, shift, only.size - shift, only.label)]
    return segments


def _concatenated(
    whole: Segment, reader: ZipReader, members: list[zd.Member], end: zd.End, directory_at: int
) -> list[Segment]:
    """Find the borders of the volumes that were concatenated into one file.

    Members follow each other without a gap. So the first member of a volume begins where the last one of the volumes
    before ends, and from its offset within the volume follows where the volume begins.
    """
    first: dict[int, zd.Member] = {}
    last: dict[int, zd.Member] = {}
    for member in members:
        if member.disk not in first or member.offset < first[member.disk].offset:
            first[member.disk] = member
        if member.disk not in last or member.offset > last[member.disk].offset:
            last[member.disk] = member
    begins: dict[int, int] = {}
    expected = None
    for disk in sorted(first):
        head = first[disk]
        # There is nothing before the first volume.
        position = head.offset if expected is None else _next_header(reader, expected, head)
        begins[disk] = position - head.offset
        tail = last[disk]
        at = begins[disk] + tail.offset
        expected = at + zd.data_start(reader.read_raw(0, at, zd.LOCAL_SIZE)) + tail.stored
    starts = []
    following = directory_at
    for disk in range(end.disk, -1, -1):
        following = begins.get(disk, following)
        starts.append(following)
    starts.reverse()
    stops = [*starts[1:], whole.size]
    return [
        Segment(whole.path, start, stop - start, f"{whole.label}, volume {number + 1}")
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def _next_header(reader: ZipReader, expected: int, member: zd.Member) -> int:
    """The place of a member's local header, at `expected` or a data descriptor later."""
    raw = reader.read_raw(0, expected, _DESCRIPTOR + zd.LOCAL_SIZE + 4 * len(member.name))
    at = raw.find(zd.LOCAL_SIGNATURE)
    if not 0 <= at <= _DESCRIPTOR:
        raise zd.ZipDamageError(
            f"volumes were concatenated and {member.name} is not where the members before it end (are they in order?)"
        )
    return expected + at


def _check_borders(segments: list[Segment], members: list[zd.Member], listing: ContainerListing) -> None:
    """Does each volume end where its last member runs on into the next one? If not, its size is not the original
    one.
    """
    if len(segments) < 2:
        return
    last: dict[int, zd.Member] = {}
    first: dict[int, zd.Member] = {}
    for member in members:
        if member.disk not in last or member.offset > last[member.disk].offset:
            last[member.disk] = member
        if member.disk not in first or member.offset < first[member.disk].offset:
            first[member.disk] = member
    reader = ZipReader(segments)
    try:
        for disk, member in sorted(last.items()):
            following = first.get(disk + 1)
            segment = segments[disk]
            if following is None or segment.path is None or segments[disk + 1].path is None:
                continue
            stop = following.offset + 1 if member.offset + zd.LOCAL_SIZE > segment.size else 0
            try:
                header = reader.read_raw(disk, member.offset, zd.LOCAL_SIZE)
                stop = stop or member.offset + zd.data_start(header) + member.stored - segment.size
            except (zd.ZipDamageError, UnreadableImageError):
                pass  # a damaged header is that member's fault, and shows when it is read
            # A volume may be closed a little early, before a local header; a member never ends after the next begins.
            if stop > following.offset or (stop < following.offset - _DESCRIPTOR and stop < -_DESCRIPTOR):
                listing.incomplete.append(
                    f"{segment.path} has {segment.size} bytes, which is not its original size: download it again"
                )
    finally:
        reader.close()


def _fill(listing: ContainerListing, members: list[zd.Member], segments: list[Segment], archive: str) -> None:
    folders: dict[str, FolderListing] = {}
    lost: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    for member in members:
        path, _, name = member.name.rpartition("/")
        if not name:
            continue  # a folder
        if path.startswith(("/", ".")) or "//" in path or "/." in path:  # bsdtar begins all members with "./"
            path = "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
        if is_system_file(name) or any(map(is_system_file, path.split("/") if path else ())):
            listing.system_files += 1
            continue
        folder = folders.get(path)
        if folder is None:
            folder = folders[path] = FolderListing(path)
        folder.names.append(name)
        folder.sizes.append(member.size)
        folder.offsets.append(member.disk << OFFSET_BITS | member.offset)
        folder.stored.append(member.stored)
        folder.methods.append(member.method)
        folder.crcs.append(member.crc)
        volume = _lost_volume(member, segments)
        if volume:
            folder.unreadable[name] = f"its archive's volume {volume} is missing or empty"
            lost[volume] += 1
        elif reason := member.unreadable():
            folder.unreadable[name] = f"the member {reason}"
            closed[reason] += name.lower().endswith(IMAGE_SUFFIXES)
    listing.incomplete += [
        f"{archive}: {count} of its images cannot be read, since each {reason}: unpack it with another program, e.g. "
        "7-Zip, and give the folder"
        for reason, count in sorted(closed.items())
        if count
    ]
    listing.folders = [folders[path] for path in sorted(folders)]
    listing.problems += [
        f"{count} {'file is' if count == 1 else 'files are'} in the missing volume {volume}"
        for volume, count in sorted(lost.items())
    ]


def _lost_volume(member: zd.Member, segments: list[Segment]) -> str | None:
    """The label of the first missing volume that a member certainly needs."""
    disk, left = member.disk, member.offset + zd.LOCAL_SIZE + len(member.name) + member.stored
    while left > 0:
        if disk >= len(segments):
            return f"number {disk + 1}"
        if segments[disk].path is None:
            return segments[disk].label
        left -= segments[disk].size
        disk += 1
    return None
