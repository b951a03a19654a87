"""One sound file as numbers: one channel, at the rate that is asked for."""

from __future__ import annotations

from io import BytesIO
from math import gcd

import numpy as np

from recbole_cadmr.errors import UserError

LONGEST = 3600  # seconds; no more are held in memory
_RATES = (1_000, 384_000)  # samples a second that recordings have
_BLOCK = 2**20  # samples read at once


def need_decoder() -> None:
    """Raise :class:`UserError` if soundfile, which reads sounds, is not installed."""
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError) as error:  # the latter: without its C library
        raise UserError("sounds need the package soundfile: pip install 'recbole_cadmr[audio]'") from error


def read_sound(content: bytes, rate: int) -> np.ndarray:
    """The samples of a wav, flac, ogg, mp3 or aiff file: float32 [n], the mean of its channels, at ``rate`` Hz.

    Raises:
        Exception: whatever a damaged file makes the decoder raise; also if it lasts longer than :data:`LONGEST`, has
            no sample, or one that is not finite.
    """
    import soundfile
    from scipy.signal import resample_poly

    with soundfile.SoundFile(BytesIO(content)) as file:
        own, most = file.samplerate, LONGEST * file.samplerate
        if not _RATES[0] <= own <= _RATES[1]:
            raise ValueError(f"it has {own} samples a second")
        blocks, n = [], 0
        for block in file.blocks(_BLOCK // file.channels + 1, dtype="float32", always_2d=True):
            blocks.append(block.mean(axis=1))
            n += len(block)
            if n > most:
                raise ValueError("it lasts too long")
    samples = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32)
    if own != rate and n:
        common = gcd(own, rate)
        samples = resample_poly(samples, rate // common, own // common)
    if not n or not np.isfinite(samples).all():
        raise ValueError("it holds no sound")
    return np.asarray(samples, dtype=np.float32)
