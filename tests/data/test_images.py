from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.images import FORMATS, check_image, has_image_suffix, open_image

NOISE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that states any size and holds next to no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_read(kind: str, tmp_path: Path) -> None:
    raw = encoded(Image.fromarray(NOISE), kind)
    path = tmp_path / "image"
    path.write_bytes(raw)
    for image in (open_image(raw), open_image(path), open_image(str(path))):
        assert image.mode == "RGB"
        assert image.size == (160, 120)
    assert check_image(raw) is None


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert np.array_equal(np.asarray(open_image(encoded(Image.fromarray(NOISE), kind))), NOISE)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.75, 0.95])
def test_a_truncated_file_is_refused_by_both(kind: str, share: float) -> None:
    raw = encoded(Image.fromarray(NOISE), kind)
    cut = raw[: int(len(raw) * share)]
    assert check_image(cut) is not None
    with pytest.raises(ValueError, match=r"truncated|damaged|known format|closed|header"):
        open_image(cut)


def test_the_check_agrees_with_the_reading_on_damaged_jpegs() -> None:
    draws = np.random.default_rng(1)
    raw = encoded(Image.fromarray(NOISE), "JPEG", progressive=False)
    for _ in range(60):
        damaged = bytearray(raw)
        damaged[draws.integers(2, len(raw))] ^= 1 << int(draws.integers(8))
        try:
            open_image(bytes(damaged))
            refused = False
        except ValueError:
            refused = True
        assert (check_image(bytes(damaged)) is not None) == refused


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(orientation: int) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = open_image(encoded(image, "JPEG", exif=exif))
    assert seen.size == ((40, 20) if orientation <= 4 else (20, 40))
    corners = {1: (2, 2), 2: (37, 2), 3: (37, 17), 4: (2, 17), 5: (2, 2), 6: (17, 2), 7: (17, 37), 8: (2, 37)}
    assert min(seen.getpixel(corners[orientation])) > 200


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 65535]], dtype=np.uint16)
    assert np.asarray(open_image(encoded(Image.fromarray(deep), "PNG")))[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(mode: str) -> None:
    image = Image.new(mode, (2, 1))
    assert open_image(encoded(image, "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_lies_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    seen = open_image(encoded(image, "PNG", transparency=0))
    assert [seen.getpixel((0, 0)), seen.getpixel((1, 0))] == [(255, 255, 255), (40, 50, 60)]


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "GIF"), ("YCbCr", "JPEG")]
)
def test_other_modes_become_rgb(mode: str, kind: str) -> None:
    raw = encoded(Image.fromarray(NOISE).convert(mode), kind)
    assert open_image(raw).mode == "RGB"
    assert check_image(raw) is None


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(raw).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_an_enormous_image_is_refused_by_its_header(width: int, height: int) -> None:
    reason = check_image(png_of_size(width, height))
    assert reason is not None
    assert "64,000,000" in reason
    with pytest.raises(ValueError, match="make it smaller"):
        open_image(png_of_size(width, height))


def test_the_limit_can_be_set() -> None:
    raw = encoded(Image.fromarray(NOISE), "PNG")
    assert check_image(raw, max_pixels=160 * 120) is None
    assert check_image(raw, max_pixels=160 * 120 - 1) is not None


@pytest.mark.parametrize("raw", [b"", b"<html>not an image</html>", b"\x00" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_refused(raw: bytes) -> None:
    assert "known format" in (check_image(raw) or "")
    with pytest.raises(ValueError, match="known format"):
        open_image(raw)


def test_floating_point_pixels_are_refused() -> None:
    raw = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(ValueError, match="floating-point"):
        open_image(raw)
    assert "floating-point" in (check_image(raw) or "")


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
def test_arrays_are_images(shape: tuple[int, ...]) -> None:
    assert open_image(np.full(shape, 255, np.uint8)).size == (4, 5)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 5, 5), np.uint8), "channels last"),
        (np.zeros((5, 4, 3), np.float32), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        open_image(array)


def test_the_callers_image_is_left_alone() -> None:
    image = Image.new("L", (3, 2), 7)
    assert open_image(image).mode == "RGB"
    assert image.mode == "L"


def test_suffixes() -> None:
    assert has_image_suffix("a/b.JPG")
    assert not has_image_suffix("a.txt")
    assert not has_image_suffix("jpg")


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        open_image(Image.new("RGB", (0, 3)))
