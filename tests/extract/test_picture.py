"""Known pixels of every kind of picture file come through as a viewer shows them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recbole_cadmr.extract.picture import read_picture

RED, WHITE, BLACK, GREY, PINK = (255, 0, 0), (255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 127, 127)


def pixels(path):
    picture = read_picture(path)
    assert picture.mode == "RGB"
    return [picture.getpixel((x, y)) for y in range(picture.height) for x in range(picture.width)]


def grey(values, kind):
    return Image.fromarray(np.array([values], dtype=kind))


def palette(transparency=None):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.putdata([0, 1])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def of(mode, *values):
    image = Image.new(mode, (len(values), 1))
    image.putdata(list(values))
    return image


@pytest.mark.parametrize(
    ("image", "ending", "expected"),
    [
        (grey([0, 32896, 65535], np.uint16), "png", [BLACK, GREY, WHITE]),
        (grey([0, 32896, 65535], np.uint16), "tif", [BLACK, GREY, WHITE]),
        (grey([0, 257 * 100], np.uint16), "png", [BLACK, (100, 100, 100)]),  # a dark one stays dark
        (grey([0, 32896, 65535], np.int32), "tif", [BLACK, GREY, WHITE]),
        (grey([0, 128 / 255, 1], np.float32), "tif", [BLACK, GREY, WHITE]),
        (grey([np.nan, 128, 255], np.float32), "tif", [BLACK, GREY, WHITE]),
        (of("CMYK", (0, 255, 255, 0), (0, 0, 0, 0), (0, 0, 0, 255)), "tif", [RED, WHITE, BLACK]),
        (palette(), "png", [RED, BLACK]),
        (palette(1), "png", [RED, WHITE]),
        (palette(1), "gif", [RED, WHITE]),
        (palette(bytes([128, 255])), "png", [PINK, BLACK]),
        (of("L", 0, 128), "png", [BLACK, GREY]),
        (of("LA", (0, 255), (0, 0), (0, 127)), "png", [BLACK, WHITE, GREY]),
        (of("RGBA", (255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 128)), "png", [RED, WHITE, PINK]),
        (of("RGBA", (255, 0, 0, 255), (255, 0, 0, 0)), "webp", [RED, WHITE]),
        (of("1", 0, 255), "png", [BLACK, WHITE]),
        (of("1", 0, 255), "bmp", [BLACK, WHITE]),
    ],
)
def test_known_pixels(tmp_path, image, ending, expected):
    image.save(tmp_path / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
    assert pixels(tmp_path / f"a.{ending}") == expected


def test_a_colour_that_stands_for_nothing_is_white(tmp_path):
    of("RGB", (1, 2, 3), RED).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert pixels(tmp_path / "a.png") == [WHITE, RED]


def test_jpeg_in_the_colours_of_print(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert set(pixels(tmp_path / "a.jpg")) == {RED}


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation(tmp_path, ending):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLACK)
    more = {"lossless": True} if ending == "webp" else {}
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second], **more)
    assert set(pixels(tmp_path / f"a.{ending}")) == {RED}


@pytest.mark.parametrize("bits", [8, 16])
def test_upright_as_the_camera_says(tmp_path, bits):
    image = of("RGB", RED, WHITE) if bits == 8 else grey([0, 65535], np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    image.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").size == (1, 2)
    assert pixels(tmp_path / "a.png") == ([RED, WHITE] if bits == 8 else [BLACK, WHITE])
    image.save(tmp_path / "b.png", exif=b"Exif\0\0junk")
    assert read_picture(tmp_path / "b.png").size == (2, 1)


def test_the_content_counts_not_the_ending(tmp_path):
    of("RGB", RED).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert pixels(tmp_path / "a.jpg") == [RED]


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    monkeypatch.setattr("subprocess.check_call", None)
    with pytest.raises(Image.UnidentifiedImageError):
        read_picture(tmp_path / "a.png")


def test_more_pixels_than_are_safe(tmp_path, monkeypatch):
    Image.new("1", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_999)
    with pytest.raises(Image.DecompressionBombError), pytest.warns(Image.DecompressionBombWarning):
        read_picture(tmp_path / "a.png")
