"""Group images that are copies: the same bytes, one picture scaled, recompressed or mirrored; and those of one subject.

Reads hashes and names; leaves nothing. Another picture of the same scene is no copy: that it belongs there must be said
by its name.
"""

from collections.abc import Iterable


def groups(images: Iterable[tuple[str, str]], distance: int) -> list[str]:
    """Return one group name an image: the sha256 of the group's first image.

    `images` are (sha256, perceptual hash in hex) in the order of their arrival, which decides: a new image joins the
    group of the nearest earlier one within `distance` bits (or of its mirror image, see `neighbours`), and two old
    groups never merge, so that nothing that arrives later changes an older image's group. One with an empty hash is
    known by its bytes alone.
    """
    from stages.neighbours import nearest_earlier

    images = list(images)
    phashes: dict[str, str] = {}
    for sha256, phash in images:
        phashes.setdefault(sha256, phash)
    hashes = {sha256: int(phash, 16) for sha256, phash in phashes.items() if phash}
    pictures = list(dict.fromkeys(hashes.values()))
    nearest: dict[int | None, int | None] = dict(zip(pictures, nearest_earlier(pictures, distance), strict=True))
    by_sha256: dict[str, str] = {}
    by_picture: dict[int | None, str] = {}
    for sha256 in phashes:
        picture = hashes.get(sha256)
        name = by_picture.get(picture) or by_picture.get(nearest.get(picture)) or sha256
        by_sha256[sha256] = name
        if picture is not None:
            by_picture.setdefault(picture, name)
    return [by_sha256[sha256] for sha256, _ in images]


def joined(images: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one group name an image, as `groups` does, where images belong together that are no copies.

    `images` are (sha256, the name that `groups` gives, subject or "") in the order of their arrival. A new image joins
    the group of the same bytes, else that of its subject, else that of its near-duplicates; a subject that is first
    seen on a copy belongs to the copy's group from then on. Here, too, two old groups never merge.
    """
    by_sha256: dict[str, str] = {}
    by_subject: dict[str, str] = {}
    by_picture: dict[str, str] = {}
    names = []
    for sha256, picture, subject in images:
        name = by_sha256.get(sha256) or by_subject.get(subject) or by_picture.get(picture) or sha256
        by_sha256.setdefault(sha256, name)
        by_picture.setdefault(picture, name)
        if subject:
            by_subject.setdefault(subject, name)
        names.append(name)
    return names
