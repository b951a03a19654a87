"""One picture file as a viewer shows it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# Decoders that execute nothing; that of EPS, which Pillow would try whatever the name of the file, starts a program.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
# What may be white where a pixel has more than a byte; which it is follows from the largest value.
_WHITE = (1, 2**8 - 1, 2**16 - 1, 2**32 - 1)


def read_picture(source: Path | BinaryIO) -> Image.Image:
    """The picture in 8-bit colours: upright, its first frame, what is transparent on white.

    Raises:
        Exception: whatever a damaged file makes Pillow's decoders raise, also for more pixels than Pillow thinks safe.
    """
    with Image.open(source, formats=_FORMATS) as file:
        if file.width * file.height > (Image.MAX_IMAGE_PIXELS or 0):  # up to twice as many, Pillow only warns
            raise Image.DecompressionBombError(f"it has {file.width} x {file.height} pixels")
        file.load()
        return _in_colours(_upright(file))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # what a camera wrote beside the picture may be junk where the picture is not
        return image


def _in_colours(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":  # 16 or 32 bits a pixel: Pillow would cut off what is above 255
        return Image.fromarray(_in_bytes(image)).convert("RGB")
    if image.mode in ("La", "RGBa"):  # colours multiplied by their opacity
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _in_bytes(image: Image.Image) -> np.ndarray:
    """Grey values from black, 0, to white, 255: uint8 [height, width]."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(0)
    sixteen = image.mode.startswith("I;16")
    white = _WHITE[2] if sixteen else next((white for white in _WHITE if values.max() <= white), values.max())
    return np.rint(values * (255 / white)).astype(np.uint8)
