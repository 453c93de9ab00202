"""Small pictures of a video, to recognize it by."""

from __future__ import annotations

import io
from contextlib import closing
from typing import cast

from PIL import Image as PilImage

from edge_tsm.data.clips import Sample
from edge_tsm.datatypes import Image
from edge_tsm.sources import Recording, open_source

PLACES = (1 / 6, 1 / 2, 5 / 6)
SIDE_PX, QUALITY = 160, 70  # some 5 kB each


def stills(sample: Sample) -> tuple[bytes, ...]:
    """Return three pictures of a video as JPEG; none where it cannot be read (any more)."""
    try:
        with closing(open_source(sample.path.absolute())) as source:
            if source.live:
                return ()
            rule = sample.within(lambda count: [int(count * place) for place in PLACES])
            frames = cast("Recording", source).sample(rule)
    except OSError:
        return ()
    return tuple(_encoded(frame.image) for frame in frames)


def _encoded(image: Image) -> bytes:
    """Return (H, W, 3) BGR as a small JPEG."""
    picture, stream = PilImage.fromarray(image[..., ::-1]), io.BytesIO()
    picture.thumbnail((SIDE_PX, SIDE_PX))
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
