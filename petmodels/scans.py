"""Say of a JPEG, before it is opened, whether it has more scans, or Exif, than any camera or program writes.

Each scan may cost libjpeg a pass over all pixels, though an empty one takes a dozen bytes: 430 kB could cost a minute.
Reads bytes in memory; leaves nothing. stages/scans.py does the same for the training images.
"""

import re

_MOST_SCANS = 100  # as libtiff has it; ten are usual
_MOST_SEGMENTS = 10_000  # each is a step in Python
_MOST_EXIF = 100  # at each Pillow copies those before it: 4 MB of them cost ten seconds
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES, _PROGRESSIVE = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}, {0xC2, 0xC6, 0xCA, 0xCE}
# Neither a stuffed byte, a restart, nor what libjpeg passes over when it looks for a restart.
_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")


def excess_in(content: bytes) -> str:
    """Return what the JPEG that `content` begins with has too much of for libjpeg, "" for nothing.

    It looks for scans where libjpeg does: to the end of the image, or until the only scan holds all components. What
    else lies in the file, such as a thumbnail before the picture or a phone's film behind it, may hold any bytes.
    """
    if content.count(b"Exif\0\0") > _MOST_EXIF:  # wherever: Pillow and libjpeg skip different markers
        return f"more than {_MOST_EXIF} pieces of Exif"
    place, frame, num_components, num_scans = 2, 0, 0, 0
    for _ in range(_MOST_SEGMENTS):
        found = _SEGMENT.search(content, place)
        if found is None or found[1][0] == _END_OF_IMAGE:
            return ""
        kind, place = found[1][0], found.end()
        if kind in _FRAMES:
            frame, num_components = kind, _number(content, place + 7, 1)
        elif kind == _START_OF_SCAN:
            num_scans += 1
            if frame not in _PROGRESSIVE and _number(content, place + 2, 1) >= num_components:
                return ""
        if num_scans > _MOST_SCANS:
            return f"more than {_MOST_SCANS} scans"
        place += max(_number(content, place, 2), 2)
    return f"more than {_MOST_SEGMENTS} segments"


def _number(content: bytes, place: int, num_bytes: int) -> int:
    return int.from_bytes(content[place : place + num_bytes], "big")
