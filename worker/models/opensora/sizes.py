"""The named sizes of Open-Sora 1.2, what the network makes of a size, and which sizes are legal.

Aspect ratios are written height:width, so "9:16" is landscape.
"""

import re
from dataclasses import dataclass

from worker.models.video_model import RequestError

IMAGE_FPS = 120  # what the network was trained with for single frames
FRAMES_PER_CHUNK = 17  # the VAE encodes 17 frames at a time
LATENTS_PER_CHUNK = 5  # into 5 latent frames
SPATIAL_FACTOR = 8
TEMPORAL_FACTOR = 4
PATCH = 2  # one token covers 2 x 2 latent values

FRAME_NAMES: dict[str, int] = {f"{2**k}x": 51 * 2**k for k in range(5)} | {
    f"{2 ** (k + 1)}s": 51 * 2**k for k in range(5)
}

ASPECT_RATIOS = (
    *("3:8", "9:21", "12:25", "1:2", "9:17", "27:50", "9:16", "5:8", "2:3", "3:4"),
    *("1:1", "4:3", "3:2", "16:9", "17:9", "2:1", "50:27"),
)

# One row per resolution, height x width in the order of ASPECT_RATIOS. The numbers are those of the released training
# buckets; they were rounded by hand (360p 27:50 is not half of 720p 27:50), so no formula gives them.
_BUCKETS = {
    "144p": "117x312 125x291 133x277 135x270 139x262 141x260 144x256 151x241 156x234 166x221 "
    "192x192 221x165 235x156 256x144 263x139 271x135 277x132",
    "240p": "196x522 210x490 222x462 226x452 232x438 236x436 240x426 252x404 262x393 276x368 "
    "320x320 370x278 392x262 426x240 440x232 452x226 462x222",
    "360p": "294x784 314x732 332x692 340x680 350x662 352x652 360x640 380x608 392x588 416x554 "
    "480x480 554x416 588x392 640x360 660x350 678x340 692x332",
    "480p": "392x1046 420x980 444x925 452x904 466x880 470x870 480x854 506x810 522x784 554x738 "
    "640x640 740x555 784x522 854x480 880x466 906x454 924x444",
    "720p": "588x1568 628x1466 666x1388 678x1356 698x1318 706x1306 720x1280 758x1212 784x1176 832x1110 "
    "960x960 1108x832 1176x784 1280x720 1320x698 1358x680 1386x666",
    "1080p": "882x2352 942x2198 998x2080 1018x2036 1048x1980 1058x1958 1080x1920 1138x1820 1176x1764 1248x1664 "
    "1440x1440 1662x1246 1764x1176 1920x1080 1980x1048 2036x1018 2078x998",
    "2k": "1176x3136 1256x2930 1330x2770 1358x2716 1398x2640 1412x2612 1440x2560 1518x2428 1568x2352 1662x2216 "
    "1920x1920 2218x1664 2352x1568 2560x1440 2638x1396 2716x1358 2772x1330",
    "4k": "1764x4704 1886x4400 1996x4158 2036x4072 2096x3960 2118x3918 2160x3840 2276x3642 2352x3528 2494x3326 "
    "2880x2880 3326x2494 3528x2352 3840x2160 3958x2096 4072x2036 4156x1994",
}
# The square tables spell their ratios differently: the only name they share with the list above is 12:25.
_SQUARE_RATIO = "12:25"
_SQUARES = ("256", "512", "1024", "2048")

RESOLUTIONS = (*_BUCKETS, *_SQUARES)


class SizeError(RequestError):
    """A size that cannot be generated; the message says what to use instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSize:
    """Pixels and frames of one video, and what the VAE and the network make of them (batch 1)."""

    height: int
    width: int
    num_frames: int

    @property
    def latent(self) -> tuple[int, int, int]:
        """Latent frames, height and width."""
        return latent_frames(self.num_frames), self.height // SPATIAL_FACTOR, self.width // SPATIAL_FACTOR

    @property
    def decoded(self) -> tuple[int, int]:
        """Height and width of the decoded video: 240 x 426 comes back as 240 x 424."""
        return self.height // SPATIAL_FACTOR * SPATIAL_FACTOR, self.width // SPATIAL_FACTOR * SPATIAL_FACTOR

    @property
    def tokens(self) -> tuple[int, int]:
        """Latent frames and tokens per latent frame; odd latent sides are padded."""
        frames, height, width = self.latent
        return frames, -(-height // PATCH) * -(-width // PATCH)


def named_size(resolution: str, aspect_ratio: str = "9:16") -> tuple[int, int]:
    """Height and width of a resolution name such as "240p" at a height:width ratio.

    Raises SizeError for a name or ratio that the tables do not hold.
    """
    if resolution in _SQUARES:
        return _square_size(resolution, aspect_ratio)
    if resolution not in _BUCKETS:
        raise SizeError(f"resolution {resolution!r} is unknown; use one of {', '.join(RESOLUTIONS)}")
    if aspect_ratio not in ASPECT_RATIOS:
        raise SizeError(
            f"aspect ratio {aspect_ratio!r} is unknown; use one of {', '.join(ASPECT_RATIOS)} (height:width)"
        )
    bucket = _BUCKETS[resolution].split()[ASPECT_RATIOS.index(aspect_ratio)]
    height, width = bucket.split("x")
    return int(height), int(width)


def _square_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    if aspect_ratio != _SQUARE_RATIO:
        raise SizeError(
            f"resolution {resolution!r} has no aspect ratio {aspect_ratio!r}; "
            f"use {_SQUARE_RATIO!r} or give height and width in pixels"
        )
    scale = int(resolution) // 256
    return 176 * scale, 368 * scale


def named_frames(name: str | int) -> int:
    """Number of frames of a name ("2s", "4x") or of a plain number.

    Raises SizeError: there is no "3s", although 72 frames last three seconds.
    """
    if str(name) in FRAME_NAMES:
        return FRAME_NAMES[str(name)]
    if not re.fullmatch(r"\d+", str(name)):
        raise SizeError(
            f"number of frames {name!r} is not a name; "
            f"use {', '.join(FRAME_NAMES)} or a number such as 72 (3 s at 24 fps)"
        )
    return int(name)


def latent_frames(num_frames: int) -> int:
    """Latent frames that the Open-Sora VAE makes of `num_frames`."""
    chunks, rest = divmod(num_frames, FRAMES_PER_CHUNK)
    return LATENTS_PER_CHUNK * chunks + -(-rest // TEMPORAL_FACTOR)


def check_size(height: int, width: int, num_frames: int) -> VideoSize:
    """The size, if Open-Sora 1.2 can generate it.

    Any height and width of at least one latent cell is legal; the decoder drops what exceeds a multiple of 8. Of the
    frame counts, 2 to 16 are not: the time shift divides zero by zero there.
    """
    for name, value in (("height", height), ("width", width)):
        if value < SPATIAL_FACTOR:
            raise SizeError(f"{name} {value} is too small; use at least {SPATIAL_FACTOR}")
    if num_frames < 1:
        raise SizeError(f"num_frames {num_frames} is not positive; use 1 for an image or {FRAMES_PER_CHUNK} and more")
    if 1 < num_frames < FRAMES_PER_CHUNK:
        raise SizeError(f"num_frames {num_frames} has no schedule; use 1 for an image or {FRAMES_PER_CHUNK} and more")
    return VideoSize(height=height, width=width, num_frames=num_frames)
