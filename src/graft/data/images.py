"""Pictures from files that nobody vouches for: decoded safely, to upright RGB.

Only well-known formats are opened, the size is read before a pixel is, and a file that ends too
early is refused rather than filled with grey.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (  # the plug-ins register what may be opened
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from graft.contracts import Array
from graft.data.files import read_row_file

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "check_image", "has_image_suffix", "open_image"]

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""Names that images go by."""
MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""

# What a damaged file makes Pillow raise; MemoryError stands for sizes that only the decoder learns of.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, OverflowError, struct.error)


def has_image_suffix(name: str) -> bool:
    """Whether a file of this name is an image by its suffix."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in SUFFIXES


def open_image(image: str | Path | bytes | Image.Image | Array, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Any image → upright RGB.

    Parameters
    ----------
    image
        A path, an encoded file, a Pillow image, or a uint8 array ``(h, w)``, ``(h, w, 1)``,
        ``(h, w, 3)`` or ``(h, w, 4)``.
    max_pixels
        Larger images are refused before they are decoded.

    Notes
    -----
    16-bit grey is scaled to 8 bits; transparent pixels lie on white, as a person sees them; of an
    animation the first frame is taken.

    Raises
    ------
    ValueError
        With the reason why it cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(image, np.ndarray):
        return _to_rgb(_from_array(image))
    if isinstance(image, Image.Image):
        opened = image
    else:
        raw = image if isinstance(image, bytes) else read_row_file(str(image))
        opened = _header(io.BytesIO(raw))
    _check_header(opened, max_pixels)
    try:
        opened.load()
        return _to_rgb(_upright(opened))
    except _DAMAGE as exc:
        raise ValueError(_reason(exc)) from exc


def check_image(raw: bytes, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why :func:`open_image` would refuse an encoded file; ``None`` where it would not.

    The whole file is parsed, so that one that ends too early is found; a JPEG is decoded at an
    eighth of its size, which saves most of the work but skips none of its data.
    """
    try:
        opened = _header(io.BytesIO(raw))
        _check_header(opened, max_pixels)
        opened.draft("RGB", (max(1, opened.width // 8), max(1, opened.height // 8)))
        opened.load()
    except _DAMAGE as exc:
        return _reason(exc)
    return None


def _header(stream: IO[bytes]) -> Image.Image:
    """``Image.open`` for the allowed formats, without its own limit, which warns where this module refuses."""
    prefix = stream.read(16)
    for name in FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(prefix) is True:
            stream.seek(0)
            try:
                return factory(stream, "")
            except _DAMAGE as exc:
                raise ValueError(f"its {name} header is damaged") from exc
    raise ValueError(f"it is not an image of a known format ({', '.join(FORMATS)})")


def _check_header(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ValueError(
            f"it has {image.width} × {image.height} pixels; at most {max_pixels:,} are read: make it smaller"
        )
    if not image.width or not image.height:
        raise ValueError("it has no pixels")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits a channel")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*_DAMAGE, Warning):  # damaged notes beside sound pixels
        return image
    return ImageOps.exif_transpose(image) if orientation != 1 else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        deep = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray((deep // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        page = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, seen).convert("RGB")
    return image.convert("RGB")


def _from_array(array: Array) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(f"its array has dtype {array.dtype}; uint8 (0 to 255) was expected: scale and cast it")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ValueError(
            f"its array has shape {array.shape}; (h, w), (h, w, 3) or (h, w, 4) was expected, channels last"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _reason(exc: BaseException) -> str:
    text = str(exc)
    if isinstance(exc, ValueError) and text:
        return text
    if "truncated" in text.lower() or isinstance(exc, EOFError):
        return "the file ends too early (truncated)"
    return f"its image data are damaged ({text or type(exc).__name__})"
